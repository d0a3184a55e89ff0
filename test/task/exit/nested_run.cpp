// A scheduler runs on this thread already: waiting in a second one would stop every task of the
// first.

#include <gyre/task/run.hpp>
#include <gyre/task/task.hpp>

#include "task/exit/abort.hpp"

int main() {
    test::exit_on_abort();
    return gyre::run([]() -> gyre::task<int> {
        const int inner = gyre::run([]() -> gyre::task<int> { co_return 0; });
        co_return inner;
    });
}
