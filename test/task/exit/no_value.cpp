// A task that yields a value must end with co_return; running off its end would hand out a value
// that does not exist.

#include <gyre/task/run.hpp>
#include <gyre/task/sleep.hpp>
#include <gyre/task/task.hpp>

#include "task/exit/abort.hpp"

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wreturn-type"
#endif

int main(int argc, char**) {
    test::exit_on_abort();
    return gyre::run([argc]() -> gyre::task<int> {
        co_await gyre::yield();
        if (argc > 100) {
            co_return 0;
        }
    });
}
