// A task awaits what can be stopped and returns to its scheduler: gyre's own.

#include <gyre/gyre.hpp>

#include <coroutine>

namespace {

[[maybe_unused]] gyre::task<> waiter() {
#ifdef GYRE_MUST_NOT_COMPILE
    co_await std::suspend_always();
#else
    co_await gyre::yield();
#endif
}

} // namespace
