// An operation awaited by a coroutine that is no gyre::task is refused with a sentence.

#include <gyre/gyre.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <exception>

namespace {

struct foreign_task {
    struct promise_type {
        foreign_task get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
    };
};

[[maybe_unused]] foreign_task own_kind() {
    co_await std::suspend_never();
}

#ifdef GYRE_MUST_NOT_COMPILE
[[maybe_unused]] foreign_task borrower(gyre::stream& peer) {
    std::array<std::byte, 8> buffer;
    co_await peer.recv(buffer);
}
#endif

} // namespace
