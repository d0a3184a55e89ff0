// gyre's operations cannot be awaited by another library's coroutine.

#include <gyre/task/sleep.hpp>
#include <gyre/task/task.hpp>

#include <coroutine>

struct foreign {
    struct promise_type {
        foreign get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept {}
    };
};

foreign wait() {
#ifdef GYRE_MUST_NOT_COMPILE
    co_await gyre::yield();
#else
    co_await std::suspend_never();
#endif
}
