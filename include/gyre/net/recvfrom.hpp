#pragma once

#include <gyre/net/ancillary.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/message.hpp>
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

/// What `datagram::recv` returns: the receive of one message whose sender is known.
class [[nodiscard("co_await the operation")]] recv_message_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<recv_message_operation>;
    using result_type = result<message_size>;

    recv_message_operation(
        detail::socket_state& socket, std::span<std::byte> buffer, int flags
    ) noexcept
        : socket_(&socket), buffer_(buffer.data()), length_(detail::clamp_length(buffer.size())),
          flags_(flags) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_recv;
    static constexpr const char* name = "recv";
    static constexpr bool can_poll_first = true;

    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = socket_->fd;
        entry.address = reinterpret_cast<std::uintptr_t>(buffer_);
        entry.length = length_;
        entry.operation_flags = static_cast<std::uint32_t>(flags_ | detail::message_truncate);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    result_type take(std::int32_t result) const noexcept {
        if (result < 0) [[unlikely]] {
            return detail::error_of(result);
        }
        const auto full = static_cast<std::uint32_t>(result);
        return message_size(full < length_ ? full : length_, full);
    }
    detail::operation_id* in_flight() const noexcept { return &socket_->receiving; }

    detail::socket_state* socket_;
    std::byte* buffer_;
    std::uint32_t length_;
    int flags_;
};

namespace detail {

/// A receive by a message header, of one buffer or a list of them.
class message_receive : public awaitable_base {
public:
    using result_type = result<message_size>;

    message_receive(
        socket_state& socket,
        domain* home,
        std::span<std::byte> buffer,
        endpoint* sender,
        any_control_buffer* control,
        int flags
    ) noexcept
        : socket_(&socket), home_(home), piece_(buffer), sender_(sender), control_(control),
          flags_(flags) {
        message_.buffer_count = 1;
    }
    message_receive(
        socket_state& socket,
        domain* home,
        std::span<const mutable_buffer> buffers,
        endpoint* sender,
        any_control_buffer* control,
        int flags
    ) noexcept
        : socket_(&socket), home_(home), sender_(sender), control_(control), flags_(flags) {
        message_.buffers = buffers.data();
        message_.buffer_count = buffers.size();
    }

protected:
    static constexpr std::uint8_t opcode = uapi::op_recvmsg;
    static constexpr bool can_poll_first = true;

    // Here and not in `prepare`: to close what the buffer still holds may submit what is queued.
    bool begin(run_loop&, std::int32_t&) const noexcept {
        if (control_ != nullptr) {
            control_->clear();
        }
        return true;
    }
    void prepare(submission& entry) noexcept {
        if (is_single()) {
            piece_ = mutable_buffer({piece_.data, clamp_length(piece_.size)});
            message_.buffers = &piece_; // The description has come to rest.
        }
        if (sender_ != nullptr) {
            message_.name = sender_->data();
            message_.name_size = static_cast<std::uint32_t>(endpoint::capacity());
        }
        int flags = flags_ | message_truncate;
        if (control_ != nullptr) {
            control_->offer(message_);
            flags |= message_close_on_exec;
        }
        entry.opcode = opcode;
        entry.fd = socket_->fd;
        entry.address = reinterpret_cast<std::uintptr_t>(&message_);
        entry.length = 1;
        entry.operation_flags = static_cast<std::uint32_t>(flags);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & message_dontwait) == 0;
    }
    result_type take(std::int32_t result) noexcept {
        if (result < 0) [[unlikely]] {
            return error_of(result);
        }
        if (sender_ != nullptr) {
            sender_->resize(message_.name_size);
        }
        if (control_ != nullptr) {
            control_->accept(*home_, message_.control_size, message_.flags);
        }
        const auto full = static_cast<std::size_t>(result);
        return message_size(full < room() ? full : room(), full);
    }
    // Nobody wants the message: the descriptors in it must not stay open.
    void reclaim(std::int32_t) const noexcept {
        if (control_ != nullptr) {
            control_->accept(*home_, message_.control_size, message_.flags);
            control_->clear();
        }
    }
    operation_id* in_flight() const noexcept { return &socket_->receiving; }

    int fd() const noexcept { return socket_->fd; }
    int flags() const noexcept { return flags_; }
    domain& home() const noexcept { return *home_; }

private:
    bool is_single() const noexcept {
        return message_.buffers == nullptr || message_.buffers == &piece_;
    }
    std::size_t room() const noexcept {
        const auto* pieces = static_cast<const mutable_buffer*>(message_.buffers);
        std::size_t size = 0;
        for (std::size_t index = 0; index < message_.buffer_count; ++index) {
            size += pieces[index].size;
        }
        return size;
    }

    socket_state* socket_;
    // Not through the datagram, which may go between the completion and the resumption.
    domain* home_;
    mutable_buffer piece_;
    message_header message_;
    endpoint* sender_;
    any_control_buffer* control_;
    int flags_;
};

} // namespace detail

/// What `datagram::recvfrom` returns.
class [[nodiscard("co_await the operation")]] recvfrom_operation : public detail::message_receive {
public:
    using awaiter = detail::operation_awaiter<recvfrom_operation>;
    using detail::message_receive::message_receive;

private:
    friend awaiter;
    static constexpr const char* name = "recvfrom";
};

/// What `datagram::recvmsg` returns.
class [[nodiscard("co_await the operation")]] recvmsg_operation : public detail::message_receive {
public:
    using awaiter = detail::operation_awaiter<recvmsg_operation>;
    using detail::message_receive::message_receive;

private:
    friend awaiter;
    static constexpr const char* name = "recvmsg";
};

} // namespace gyre::inline v0
