#pragma once

#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

/// What `stream::send` returns: a send that begins when it is awaited.
class [[nodiscard("co_await the operation")]] send_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<send_operation>;
    using result_type = result<std::size_t>;

    send_operation(
        int fd, detail::operation_id& in_flight, std::span<const std::byte> buffer, int flags
    ) noexcept
        : buffer_(buffer), in_flight_(&in_flight), fd_(fd), flags_(flags) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_send;
    static constexpr const char* name = "send";
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

    std::span<const std::byte> buffer_;
    detail::operation_id* in_flight_;
    int fd_;
    int flags_;
};

/// What the gather form of `stream::send` returns.
class [[nodiscard("co_await the operation")]] send_gather_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<send_gather_operation>;
    using result_type = result<std::size_t>;

    send_gather_operation(
        int fd, detail::operation_id& in_flight, std::span<const const_buffer> buffers, int flags
    ) noexcept
        : in_flight_(&in_flight), fd_(fd), flags_(flags) {
        message_.buffers = buffers.data();
        message_.buffer_count = buffers.size();
    }

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_sendmsg;
    static constexpr const char* name = "send";
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
