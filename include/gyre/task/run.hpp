#pragma once

#include <gyre/scheduler/scheduler.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/task.hpp>

#include <exception>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

namespace detail {

/// The main task of `run`: told of its end, which ends the loop.
template <class T>
class main_task final : private waiter {
public:
    explicit main_task(task<T>& from) noexcept : waiter(&done), awaiter_(from) {}

    T run(scheduler& on) {
        run_loop& loop = loop_of(on);
        scope_core& all = root_of(loop);
        all.body = &awaiter_;
        awaiter_.start(all.context(), *this);
        while (!over_) {
            loop.step(true);
        }
        all.body = nullptr;
        return awaiter_.take();
    }

private:
    static void done(waiter& base) noexcept { static_cast<main_task&>(base).over_ = true; }

    task_awaiter<T> awaiter_;
    bool over_ = false;
};

} // namespace detail

/// Runs a task on a scheduler made for it, and returns what the task yields.
///
/// When the main task has ended, tasks started with `gyre::spawn` are canceled and joined.
///
/// \param options   how the scheduler is made.
/// \param callable  yields the main task; it and `args` are kept until the task has ended.
/// \throws          what the task throws; `std::system_error` if no engine can be made.
template <class Callable, class... Args>
    requires detail::yields_task<Callable, Args...>
auto run(const scheduler_options& options, Callable&& callable, Args&&... args) {
    std::decay_t<Callable> kept(std::forward<Callable>(callable));
    std::tuple<std::decay_t<Args>...> kept_args(std::forward<Args>(args)...);
    scheduler on(options);
    auto made = std::apply([&](auto&... each) { return kept(std::move(each)...); }, kept_args);
    return detail::main_task(made).run(on);
}

/// The same with default options.
template <class Callable, class... Args>
    requires detail::yields_task<Callable, Args...>
auto run(Callable&& callable, Args&&... args) {
    return run(scheduler_options(), std::forward<Callable>(callable), std::forward<Args>(args)...);
}

/// Runs a task that was made before.
template <class T>
T run(task<T>&& main, const scheduler_options& options = {}) {
    return run(options, detail::ready_made<T>(std::move(main)));
}

} // namespace gyre::inline v0
