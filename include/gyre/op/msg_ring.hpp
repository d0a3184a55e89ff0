#pragma once

#include <gyre/op/raw_operation.hpp>
#include <gyre/operation/operation.hpp>

#include <cstdint>
#include <type_traits>

namespace gyre::inline v0::op {

/// What the other ring gets to see.
struct ring_message {
    std::uint64_t user_data = 0; ///< Of the completion.
    std::uint32_t result = 0;    ///< Its `res`.
};
static_assert(std::is_trivially_destructible_v<ring_message>);

/// What `msg_ring` returns.
class [[nodiscard("co_await the operation")]] msg_ring_operation
    : public detail::raw_operation<detail::uapi::op_msg_ring, void> {
public:
    using awaiter = detail::operation_awaiter<msg_ring_operation>;
    msg_ring_operation(int ring, const ring_message& message) noexcept
        : raw_operation({.fd = ring, .length = message.result, .offset = message.user_data}) {}

private:
    friend awaiter;
    static constexpr const char* name = "msg_ring";

    bool begin(detail::run_loop& loop, std::int32_t& result) const noexcept;
};

/// Puts a completion into another ring, one that the program has made itself: a scheduler's ring is
/// not to be had, since its completions name operations; to a scheduler one posts. 5.18,
/// io_uring_prep_msg_ring(3).
///
/// \par Errors  `EBADFD` that is no ring. `ENOSYS` the engine is not the kernel's ring, or the
///              kernel is older.
inline msg_ring_operation msg_ring(int ring, const ring_message& message) noexcept {
    return msg_ring_operation(ring, message);
}

} // namespace gyre::inline v0::op
