#pragma once

#include <gyre/net/ancillary.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0::detail {

/// How a send of a message waits for room.
///
/// Mostly the engine does. But not every engine can wait for room in the queue of a Unix datagram
/// socket (`send_abilities`). Where it cannot, each try is made not to wait (MSG_DONTWAIT), and
/// between two of them a submission of its own waits.
///
///   sending -> polling -> sending   connected: POLLOUT tells of room in the peer's queue
///   sending -> resting -> sending   by time: POLLOUT speaks of no other receiver, and where many
///                                   send to one it may say ready to all of them
class message_wait {
public:
    message_wait(bool is_unix, bool is_connected) noexcept
        : is_unix_(is_unix), is_connected_(is_connected) {}

    void begin(run_loop& loop, int flags) noexcept {
        const send_abilities& able = loop.carrier().sends();
        poll_first_ = loop.uses(feature::poll_first);
        may_wait_ = (flags & message_dontwait) == 0;
        by_itself_ = is_unix_ && may_wait_ && !able.wait_for_receiver;
        send_takes_address_ = able.take_address;
    }

    bool is_sending() const noexcept { return phase_ == phase::sending; }
    bool send_takes_address() const noexcept { return send_takes_address_; }
    /// The MSG_ values of a try.
    int flags() const noexcept { return by_itself_ ? message_dontwait : 0; }
    std::uint16_t ioprio() const noexcept {
        return retries_ && !by_itself_ && poll_first_ ? uapi::recvsend_poll_first
                                                      : std::uint16_t{0};
    }

    /// Fills the submission that waits.
    void prepare(submission& entry, int fd) noexcept;

    /// Whether this result is followed by a further submission.
    bool again(std::int32_t result) noexcept {
        if (phase_ == phase::sending && result != -EAGAIN) [[likely]] {
            return false;
        }
        return go_on(result);
    }

    /// The next message is another one: what was learned of this one's receiver is forgotten.
    void renew(bool is_connected) noexcept {
        is_connected_ = is_connected;
        phase_ = phase::sending;
        polled_ = false;
        retries_ = false;
        time_ = {};
    }

private:
    enum class phase : std::uint8_t { sending, polling, resting };
    // The kernel's `struct __kernel_timespec`.
    struct timespec {
        std::int64_t seconds;
        std::int64_t nanoseconds;
    };

    bool go_on(std::int32_t result) noexcept;

    timespec time_ = {}; // How long the last rest was.
    phase phase_ = phase::sending;
    bool is_unix_;
    bool is_connected_;
    bool poll_first_ = false;
    bool by_itself_ = false;
    bool may_wait_ = true;
    bool send_takes_address_ = false;
    bool polled_ = false; // The last wait was for POLLOUT.
    bool retries_ = false;
};

/// A send of one message, from one buffer or a list of them.
class message_send : public awaitable_base {
public:
    using result_type = result<std::size_t>;

    message_send(
        socket_state& socket,
        bool is_unix,
        std::span<const std::byte> buffer,
        const endpoint* to,
        const any_control_message* control,
        int flags
    ) noexcept
        : socket_(&socket), piece_(buffer), to_(to), control_(control), flags_(flags),
          wait_(is_unix, to == nullptr) {
        message_.buffer_count = 1;
    }
    message_send(
        socket_state& socket,
        bool is_unix,
        std::span<const const_buffer> buffers,
        const endpoint* to,
        const any_control_message* control,
        int flags
    ) noexcept
        : socket_(&socket), to_(to), control_(control), flags_(flags),
          wait_(is_unix, to == nullptr), is_list_(true) {
        message_.buffers = buffers.data();
        message_.buffer_count = buffers.size();
    }

protected:
    static constexpr std::uint8_t opcode = uapi::op_send;
    static constexpr bool can_poll_first = false; // `message_wait` sees to it.

    bool begin(run_loop& loop, std::int32_t&) noexcept {
        wait_.begin(loop, flags_);
        return true;
    }
    void prepare(submission& entry) noexcept {
        if (!wait_.is_sending()) [[unlikely]] {
            wait_.prepare(entry, socket_->fd);
            return;
        }
        entry.fd = socket_->fd;
        entry.ioprio = wait_.ioprio();
        entry.operation_flags =
            static_cast<std::uint32_t>(flags_ | wait_.flags() | message_nosignal);
        if (!is_list_ && control_ == nullptr && (to_ == nullptr || wait_.send_takes_address())) {
            entry.opcode = uapi::op_send;
            entry.address = reinterpret_cast<std::uintptr_t>(piece_.data);
            entry.length = clamp_length(piece_.size);
            if (to_ != nullptr) {
                entry.offset = reinterpret_cast<std::uintptr_t>(to_->data());
                entry.file_index = static_cast<std::uint32_t>(to_->size()); // addr_len, 16 bits
            }
            return;
        }
        prepare_message(entry);
    }
    bool again(std::int32_t result) noexcept { return wait_.again(result); }
    static result_type take(std::int32_t result) noexcept { return size_or_error(result); }
    operation_id* in_flight() const noexcept { return &socket_->sending; }

    int fd() const noexcept { return socket_->fd; }
    int flags() const noexcept { return flags_; }
    /// Makes it the send of another message.
    void reassign(std::span<const std::byte> buffer, const endpoint* to) noexcept {
        piece_ = const_buffer(buffer);
        to_ = to;
        wait_.renew(to == nullptr);
    }

private:
    void prepare_message(submission& entry) noexcept;

    socket_state* socket_;
    const_buffer piece_;
    const endpoint* to_;
    const any_control_message* control_;
    message_header message_;
    int flags_;
    message_wait wait_;
    bool is_list_ = false;
};

} // namespace gyre::inline v0::detail

namespace gyre::inline v0 {

/// What `datagram::send` and `datagram::sendto` return.
class [[nodiscard("co_await the operation")]] sendto_operation : public detail::message_send {
public:
    using awaiter = detail::operation_awaiter<sendto_operation>;
    using detail::message_send::message_send;

private:
    friend awaiter;
    static constexpr const char* name = "sendto";
};

/// What `datagram::sendmsg` returns.
class [[nodiscard("co_await the operation")]] sendmsg_operation : public detail::message_send {
public:
    using awaiter = detail::operation_awaiter<sendmsg_operation>;
    using detail::message_send::message_send;

private:
    friend awaiter;
    static constexpr const char* name = "sendmsg";
};

} // namespace gyre::inline v0
