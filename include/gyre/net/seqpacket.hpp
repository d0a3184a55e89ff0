#pragma once

#include <gyre/net/ancillary.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/listener.hpp>
#include <gyre/net/message.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/stream_message.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/operation/send.hpp>
#include <gyre/result.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace gyre::inline v0 {

class accept_seqpacket_operation;
class connect_seqpacket_operation;
struct seqpacket_pair;

/// What `seqpacket::recv` and `recvmsg` return.
class [[nodiscard("co_await the operation")]] recv_packet_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<recv_packet_operation>;
    using result_type = result<message_size>;

    recv_packet_operation(
        detail::socket_state& socket,
        detail::domain* home,
        std::span<std::byte> buffer,
        any_control_buffer* control,
        int flags
    ) noexcept
        : socket_(&socket), home_(home), control_(control), piece_(buffer), flags_(flags) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_recvmsg;
    static constexpr const char* name = "recv";
    static constexpr bool can_poll_first = true;
    static constexpr int truncate = 0x20;            // MSG_TRUNC
    static constexpr int control_truncated = 0x8;    // MSG_CTRUNC
    static constexpr int close_on_exec = 0x40000000; // MSG_CMSG_CLOEXEC

    // Here and not in `prepare`: to close what the buffer still holds may submit what is queued.
    bool begin(detail::run_loop&, std::int32_t&) const noexcept {
        if (control_ != nullptr) {
            control_->clear();
        }
        return true;
    }
    void prepare(detail::submission& entry) noexcept {
        piece_.size = detail::clamp_length(piece_.size);
        message_.buffers = &piece_;
        message_.buffer_count = 1;
        if (control_ != nullptr) {
            control_->offer(message_);
        } else {
            message_.control = time_;
            message_.control_size = sizeof time_;
        }
        message_.flags = 0;
        entry.opcode = opcode;
        entry.fd = socket_->fd;
        entry.address = reinterpret_cast<std::uintptr_t>(&message_);
        entry.length = 1;
        entry.operation_flags = static_cast<std::uint32_t>(flags_ | truncate | close_on_exec);
    }
    bool again(std::int32_t result) const noexcept {
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    result_type take(std::int32_t result) const noexcept {
        if (result < 0) {
            return detail::error_of(result);
        }
        if (control_ != nullptr) {
            control_->accept(*home_, message_.control_size, message_.flags);
        }
        // Each message brings the time at which it came, an empty one as well. The end brings
        // nothing.
        if (result == 0 && message_.control_size == 0 &&
            (message_.flags & control_truncated) == 0) {
            return errc::end_of_stream;
        }
        const auto full = static_cast<std::size_t>(result);
        return message_size(full < piece_.size ? full : piece_.size, full);
    }
    void reclaim(std::int32_t) const noexcept {
        if (control_ != nullptr) {
            control_->accept(*home_, message_.control_size, message_.flags);
            control_->clear();
        }
    }
    detail::operation_id* in_flight() const noexcept { return &socket_->receiving; }

    detail::socket_state* socket_;
    // Not through the socket's owner, which may go between the completion and the resumption.
    detail::domain* home_;
    any_control_buffer* control_;
    mutable_buffer piece_;
    detail::message_header message_;
    // Room for the time and nothing else: the kernel closes descriptors that nobody asked for.
    alignas(8) std::byte time_[32];
    int flags_;
};

/// A connection that keeps the boundaries of messages: Unix seqpacket. Owns its descriptor.
///
/// Each send is one message, taken whole or not at all, and each receive yields one; none is lost,
/// doubled or out of order. It has an end, as a stream has. The option SO_TIMESTAMPNS is on and has
/// to stay so: the time that comes with each message tells an empty one from the end.
///
/// One receive and one send may be in flight at the same time; a second one of a kind is a broken
/// precondition. Used by the thread of one scheduler.
class seqpacket : public descriptor {
public:
    /// Connects to `to`, a Unix name at which a `seqpacket_listener` listens.
    ///
    /// \par Errors        As for `stream::connect`; `EPROTOTYPE` at that path is a socket of another
    ///                    type.
    /// \par Cancellation  The half-open connection is closed.
    /// \par Kernel        5.5. IORING_OP_CONNECT; connect(2).
    static connect_seqpacket_operation
    connect(const endpoint& to, const connect_options& options = {}) noexcept;

    /// Two that are connected to each other; socketpair(2).
    ///
    /// \throws std::system_error  `EMFILE`, `ENFILE`.
    static seqpacket_pair pair();

    /// Takes over a connected seqpacket socket, and turns SO_TIMESTAMPNS on.
    static seqpacket adopt(int fd) noexcept;
    /// The same, once it has looked what `fd` is: see `stream::try_adopt`.
    static result<seqpacket> try_adopt(int fd) noexcept;
    static result<seqpacket> try_adopt(owned_descriptor&& from) noexcept;
    /// Gives the number away: see `stream::release`.
    int release() noexcept { return release_number(); }
    /// A second one on the same connection: see `stream::dup`.
    result<seqpacket> dup() const noexcept;

    /// Receives the next message.
    ///
    /// \param buffer  where it goes.
    /// \param flags   MSG_ values such as MSG_PEEK, MSG_DONTWAIT.
    /// \return        how many bytes were stored, and how long the message was; `truncated()` if
    ///                not all of it fitted. The rest of it is gone. An empty message is one.
    ///
    /// \par Errors        `errc::end_of_stream` the peer has closed. `ECONNRESET` it did so with
    ///                    messages unread. `ENOTCONN` not connected. `EAGAIN` nothing is there, with
    ///                    MSG_DONTWAIT. `ECANCELED` canceled, and no message had been taken.
    /// \par Cancellation  The task resumes after the kernel is done with `buffer`, never before. A
    ///                    message that won the race is the result.
    /// \par Lifetime      `*this` and the memory behind `buffer` outlive the suspension.
    /// \par Kernel        5.3. IORING_OP_RECVMSG with MSG_TRUNC; recvmsg(2), unix(7).
    recv_packet_operation recv(std::span<std::byte> buffer, int flags = 0) noexcept {
        return recv_packet_operation(socket_, domain_, buffer, nullptr, flags);
    }
    /// The same with what came beside it, descriptors for instance, which `control` owns.
    recv_packet_operation
    recvmsg(std::span<std::byte> buffer, any_control_buffer& control, int flags = 0) noexcept {
        return recv_packet_operation(socket_, domain_, buffer, &control, flags);
    }

    /// Sends a message, which may be empty. Suspends until there is room for all of it.
    ///
    /// \return  its size.
    ///
    /// \par Errors        `EMSGSIZE` it is larger than the send buffer. `EPIPE` the peer or this
    ///                    side has closed. `ECANCELED` canceled, and nothing was sent.
    /// \par Lifetime      `*this` and the memory behind `message` outlive the suspension.
    /// \par Kernel        5.6. IORING_OP_SEND; send(2), unix(7).
    send_operation send(std::span<const std::byte> message, int flags = 0) noexcept {
        return send_operation(socket_, message, flags | detail::message_nosignal);
    }
    /// The gather form: one message of all `buffers`.
    ///
    /// \par Kernel  5.3. IORING_OP_SENDMSG; sendmsg(2).
    send_gather_operation send(std::span<const const_buffer> buffers, int flags = 0) noexcept {
        return send_gather_operation(socket_, buffers, flags | detail::message_nosignal);
    }
    /// Sends a message, not empty, with what shall go beside it: see `stream::sendmsg`.
    send_control_operation sendmsg(
        std::span<const std::byte> message, const any_control_message& control, int flags = 0
    ) noexcept;

    /// Ends one direction, or both; shutdown(2).
    result<void> shutdown(shutdown_side side) noexcept;

    /// Closes the descriptor: see `stream::close`.
    close_description close() noexcept { return close_description(*this); }

    using descriptor::peer_endpoint;

private:
    friend class accept_seqpacket_operation;
    friend class connect_seqpacket_operation;
    seqpacket(int fd, detail::domain& home) noexcept;
};

/// What `seqpacket::pair` returns.
struct seqpacket_pair {
    seqpacket_pair(seqpacket&& one, seqpacket&& other) noexcept
        : first(std::move(one)), second(std::move(other)) {}
    seqpacket first;
    seqpacket second;
};

/// A Unix socket that accepts `seqpacket` connections; otherwise a `listener`.
class seqpacket_listener : private listener {
public:
    /// Binds to `at`, a Unix name, and listens: see `listener::bind`.
    ///
    /// \throws std::system_error  as `listener::bind`; `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT` at an
    ///                            endpoint that is no Unix name.
    static seqpacket_listener bind(const endpoint& at, const listen_options& options = {});
    /// The same, but yields the error.
    static result<seqpacket_listener>
    try_bind(const endpoint& at, const listen_options& options = {}) noexcept;

    /// Takes over a socket that listens: see `listener::adopt`.
    static seqpacket_listener adopt(int fd) noexcept;
    static result<seqpacket_listener> try_adopt(int fd) noexcept;
    static result<seqpacket_listener> try_adopt(owned_descriptor&& from) noexcept;

    /// Accepts the next connection: see `listener::accept`.
    accept_seqpacket_operation accept() noexcept;

    using descriptor::is_nonblocking;
    using descriptor::is_open;
    using descriptor::local_endpoint;
    using descriptor::native_handle;
    using descriptor::option;
    using descriptor::raw_option;
    using descriptor::set_nonblocking;
    using descriptor::set_option;
    using descriptor::set_raw_option;
    using descriptor::socket_error;
    using listener::backlog;
    using listener::close;
    using listener::release;

private:
    explicit seqpacket_listener(listener&& made) noexcept : listener(std::move(made)) {}
};

/// What `seqpacket_listener::accept` returns.
class [[nodiscard("co_await the operation")]] accept_seqpacket_operation : public accept_operation {
public:
    using awaiter = detail::operation_awaiter<accept_seqpacket_operation>;
    using result_type = result<seqpacket>;
    using accept_operation::accept_operation;

private:
    friend awaiter;
    result_type take(std::int32_t result) noexcept {
        if (result < 0) {
            return detail::error_of(result);
        }
        return seqpacket(result, *home_);
    }
};

/// What `seqpacket::connect` returns.
class [[nodiscard("co_await the operation")]] connect_seqpacket_operation
    : public connect_operation {
public:
    using awaiter = detail::operation_awaiter<connect_seqpacket_operation>;
    using result_type = result<seqpacket>;

    connect_seqpacket_operation(const endpoint& to, const connect_options& options) noexcept
        : connect_operation(to, options, seqpacket_type) {}

private:
    friend awaiter;
    static constexpr int seqpacket_type = 5; // SOCK_SEQPACKET

    result_type take(std::int32_t result) noexcept {
        if (result < 0) {
            socket_.reset();
            return detail::error_of(result);
        }
        detail::domain& home = socket_.home();
        return seqpacket(socket_.release(), home);
    }
};

inline connect_seqpacket_operation
seqpacket::connect(const endpoint& to, const connect_options& options) noexcept {
    return connect_seqpacket_operation(to, options);
}

inline accept_seqpacket_operation seqpacket_listener::accept() noexcept {
    return accept_seqpacket_operation(*this, nullptr);
}

} // namespace gyre::inline v0
