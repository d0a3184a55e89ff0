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
        detail::socket_state& socket, std::span<const std::byte> buffer, int flags
    ) noexcept
        : socket_(&socket), buffer_(buffer.data()), length_(detail::clamp_length(buffer.size())),
          flags_(flags) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_send;
    static constexpr const char* name = "send";
    static constexpr bool can_poll_first = true;

    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = socket_->fd;
        entry.address = reinterpret_cast<std::uintptr_t>(buffer_);
        entry.length = length_;
        entry.operation_flags = static_cast<std::uint32_t>(flags_);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    static result_type take(std::int32_t result) noexcept { return detail::size_or_error(result); }
    detail::operation_id* in_flight() const noexcept { return &socket_->sending; }

    detail::socket_state* socket_;
    const std::byte* buffer_;
    std::uint32_t length_;
    int flags_;
};

/// What the gather form of `stream::send` returns.
class [[nodiscard("co_await the operation")]] send_gather_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<send_gather_operation>;
    using result_type = result<std::size_t>;

    send_gather_operation(
        detail::socket_state& socket, std::span<const const_buffer> buffers, int flags
    ) noexcept
        : socket_(&socket), flags_(flags) {
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
        entry.fd = socket_->fd;
        entry.address = reinterpret_cast<std::uintptr_t>(&message_);
        entry.length = 1;
        entry.operation_flags = static_cast<std::uint32_t>(flags_);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    static result_type take(std::int32_t result) noexcept { return detail::size_or_error(result); }
    detail::operation_id* in_flight() const noexcept { return &socket_->sending; }

    detail::message_header message_;
    detail::socket_state* socket_;
    int flags_;
};

} // namespace gyre::inline v0
