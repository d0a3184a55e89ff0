// An exception that a spawned task lets out ends the program unless a hook says otherwise.

#include <gyre/task/run.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/sleep.hpp>
#include <gyre/task/task.hpp>

#include "task/exit/abort.hpp"

#include <stdexcept>

int main() {
    test::exit_on_abort();
    gyre::run([]() -> gyre::task<> {
        gyre::spawn([]() -> gyre::task<> {
            co_await gyre::yield();
            throw std::runtime_error("nobody catches this");
        });
        for (int i = 0; i < 10; ++i) {
            co_await gyre::yield();
        }
    });
}
