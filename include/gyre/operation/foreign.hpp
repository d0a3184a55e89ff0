#pragma once

#include <coroutine>

namespace gyre::inline v0::detail {

template <class>
inline constexpr bool is_gyre_task = false;

/// The base of whatever gyre lets a task await. Its `operator co_await` is what a coroutine type
/// other than `gyre::task` finds, and says so.
struct awaitable_base {
    struct foreign_coroutine {
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise>) const noexcept {
            static_assert(
                is_gyre_task<Promise>,
                "gyre's operations can be awaited in a gyre::task only: their stopping, their "
                "limits "
                "and their scheduler come with the task"
            );
        }
        void await_resume() const noexcept {}
    };
    foreign_coroutine operator co_await() const noexcept { return {}; }
};

} // namespace gyre::inline v0::detail
