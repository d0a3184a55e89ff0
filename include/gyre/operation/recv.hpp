#pragma once

#include <gyre/detail/assert.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

/// What `stream::recv` returns: a receive that begins when it is awaited.
class [[nodiscard("co_await the operation")]] recv_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<recv_operation>;
    using result_type = result<std::size_t>;

    recv_operation(
        int fd, detail::operation_id& in_flight, std::span<std::byte> buffer, int flags
    ) noexcept
        : buffer_(buffer), in_flight_(&in_flight), fd_(fd), flags_(flags) {
        GYRE_ASSERT(!buffer.empty(), "recv needs room for at least one byte");
    }

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_recv;
    static constexpr const char* name = "recv";
    static constexpr bool can_poll_first = true;

    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = fd_;
        entry.address = reinterpret_cast<std::uintptr_t>(buffer_.data());
        entry.length = detail::clamp_length(buffer_.size());
        entry.operation_flags = static_cast<std::uint32_t>(flags_);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    static result_type take(std::int32_t result) noexcept { return detail::size_or_error(result); }
    detail::operation_id* in_flight() const noexcept { return in_flight_; }

    std::span<std::byte> buffer_;
    detail::operation_id* in_flight_;
    int fd_;
    int flags_;
};

/// What the scatter form of `stream::recv` returns.
class [[nodiscard("co_await the operation")]] recv_scatter_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<recv_scatter_operation>;
    using result_type = result<std::size_t>;

    recv_scatter_operation(
        int fd, detail::operation_id& in_flight, std::span<const mutable_buffer> buffers, int flags
    ) noexcept
        : in_flight_(&in_flight), fd_(fd), flags_(flags) {
        message_.buffers = buffers.data();
        message_.buffer_count = buffers.size();
    }

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_recvmsg;
    static constexpr const char* name = "recv";
    static constexpr bool can_poll_first = true;

    void prepare(detail::submission& entry) noexcept {
        entry.opcode = opcode;
        entry.fd = fd_;
        entry.address = reinterpret_cast<std::uintptr_t>(&message_);
        entry.length = 1;
        entry.operation_flags = static_cast<std::uint32_t>(flags_);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    static result_type take(std::int32_t result) noexcept { return detail::size_or_error(result); }
    detail::operation_id* in_flight() const noexcept { return in_flight_; }

    detail::message_header message_;
    detail::operation_id* in_flight_;
    int fd_;
    int flags_;
};

} // namespace gyre::inline v0
