#include <gyre/task/stop.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

namespace gyre::inline v0::this_task {

namespace {

detail::stop_level level() noexcept {
    const detail::run_loop* loop = detail::run_loop::current();
    GYRE_ASSERT_ALWAYS(
        loop != nullptr && loop->running() != nullptr,
        "this_task speaks of the running task: call it from one"
    );
    return loop->running()->context.stop->level;
}

} // namespace

bool stop_requested() noexcept {
    return level() != detail::stop_level::none;
}

bool canceled() noexcept {
    return level() == detail::stop_level::cancel;
}

} // namespace gyre::inline v0::this_task
