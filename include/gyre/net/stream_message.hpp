#pragma once

#include <gyre/detail/assert.hpp>
#include <gyre/net/ancillary.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

/// What `stream::recvmsg` returns.
class [[nodiscard("co_await the operation")]] recv_control_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<recv_control_operation>;
    using result_type = result<std::size_t>;

    recv_control_operation(
        detail::socket_state& socket,
        detail::domain* home,
        std::span<std::byte> buffer,
        any_control_buffer& control,
        int flags
    ) noexcept
        : socket_(&socket), home_(home), control_(&control), piece_(buffer),
          flags_(flags & ~detail::message_waitall) {
        GYRE_ASSERT(!buffer.empty(), "recvmsg needs room for at least one byte");
        GYRE_ASSERT(
            flags == flags_, "with MSG_WAITALL a later part would bury what came beside the first"
        );
    }

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_recvmsg;
    static constexpr const char* name = "recvmsg";
    static constexpr bool can_poll_first = true;
    static constexpr int close_on_exec = 0x40000000; // MSG_CMSG_CLOEXEC

    // Here and not in `prepare`: to close what the buffer still holds may submit what is queued.
    bool begin(detail::run_loop&, std::int32_t&) const noexcept {
        control_->clear();
        return true;
    }
    void prepare(detail::submission& entry) noexcept {
        piece_.size = detail::clamp_length(piece_.size);
        message_.buffers = &piece_;
        message_.buffer_count = 1;
        control_->offer(message_);
        entry.opcode = opcode;
        entry.fd = socket_->fd;
        entry.address = reinterpret_cast<std::uintptr_t>(&message_);
        entry.length = 1;
        entry.operation_flags = static_cast<std::uint32_t>(flags_ | close_on_exec);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    result_type take(std::int32_t result) const noexcept {
        if (result >= 0) {
            control_->accept(*home_, message_.control_size, message_.flags);
        }
        return detail::size_or_error(result);
    }
    // Nobody wants it: the descriptors that came must not stay open.
    void reclaim(std::int32_t) const noexcept {
        control_->accept(*home_, message_.control_size, message_.flags);
        control_->clear();
    }
    detail::operation_id* in_flight() const noexcept { return &socket_->receiving; }

    detail::socket_state* socket_;
    // Not through the stream, which may go between the completion and the resumption.
    detail::domain* home_;
    any_control_buffer* control_;
    mutable_buffer piece_;
    detail::message_header message_;
    int flags_;
};

/// What `stream::sendmsg` returns.
class [[nodiscard("co_await the operation")]] send_control_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<send_control_operation>;
    using result_type = result<std::size_t>;

    send_control_operation(
        detail::socket_state& socket,
        std::span<const std::byte> bytes,
        const any_control_message& control,
        int flags
    ) noexcept
        : socket_(&socket), control_(&control), piece_(bytes),
          flags_((flags & ~detail::message_waitall) | detail::message_nosignal) {
        GYRE_ASSERT(!bytes.empty(), "ancillary data travels with at least one byte");
    }

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_sendmsg;
    static constexpr const char* name = "sendmsg";
    static constexpr bool can_poll_first = true;

    void prepare(detail::submission& entry) noexcept {
        piece_.size = detail::clamp_length(piece_.size);
        message_.buffers = &piece_;
        message_.buffer_count = 1;
        // sendmsg(2) only reads it, but shares its header with recvmsg(2).
        message_.control = const_cast<std::byte*>(control_->data());
        message_.control_size = control_->size();
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

    detail::socket_state* socket_;
    const any_control_message* control_;
    const_buffer piece_;
    detail::message_header message_;
    int flags_;
};

inline recv_control_operation
stream::recvmsg(std::span<std::byte> buffer, any_control_buffer& control, int flags) noexcept {
    return recv_control_operation(socket_, domain_, buffer, control, flags);
}

inline send_control_operation stream::sendmsg(
    std::span<const std::byte> bytes, const any_control_message& control, int flags
) noexcept {
    return send_control_operation(socket_, bytes, control, flags);
}

} // namespace gyre::inline v0
