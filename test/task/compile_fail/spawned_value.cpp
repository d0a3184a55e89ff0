// Nobody would take the value of a spawned task.

#include <gyre/task/scope.hpp>

#include <utility>

gyre::task<int> number() {
    co_return 1;
}

gyre::task<> count(gyre::scope& tasks) {
    auto counting = []() -> gyre::task<> {
        const int value = co_await number();
        static_cast<void>(value);
    };
    tasks.spawn(counting);
#ifdef GYRE_MUST_NOT_COMPILE
    tasks.spawn(number());
#endif
    co_return;
}
