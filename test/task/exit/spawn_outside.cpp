// gyre::spawn needs a scheduler that runs on this thread.

#include <gyre/task/scope.hpp>
#include <gyre/task/task.hpp>

#include "task/exit/abort.hpp"

int main() {
    test::exit_on_abort();
    gyre::spawn([]() -> gyre::task<> { co_return; });
}
