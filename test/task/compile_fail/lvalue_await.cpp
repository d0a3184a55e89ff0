// An operation is awaited once, so a named one has to be moved.

#include <gyre/task/sleep.hpp>
#include <gyre/task/task.hpp>

#include <chrono>
#include <utility>

gyre::task<> nap() {
    auto sleeping = gyre::sleep_for(std::chrono::seconds(1));
#ifdef GYRE_MUST_NOT_COMPILE
    const auto slept = co_await sleeping;
#else
    const auto slept = co_await std::move(sleeping);
#endif
    static_cast<void>(slept);
}
