// A gyre::task awaits gyre's own operations and tasks only.

#include <gyre/task/sleep.hpp>
#include <gyre/task/task.hpp>

#include <coroutine>

gyre::task<> wait() {
#ifdef GYRE_MUST_NOT_COMPILE
    co_await std::suspend_always();
#else
    co_await gyre::yield();
#endif
}
