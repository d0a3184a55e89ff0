// A task is awaited or spawned once.

#include <gyre/task/run.hpp>
#include <gyre/task/task.hpp>

#include "task/exit/abort.hpp"

#include <utility>

int main() {
    test::exit_on_abort();
    gyre::run([]() -> gyre::task<> {
        auto nothing = []() -> gyre::task<> { co_return; };
        auto once = nothing();
        co_await std::move(once);
        co_await std::move(once); // NOLINT(bugprone-use-after-move): the mistake that is tested.
    });
}
