#pragma once

#include <gyre/net/endpoint.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/op/raw_operation.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/operation.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

struct msghdr; // <sys/socket.h>

namespace gyre::inline v0::op {

/// What `socket` returns.
class [[nodiscard("co_await the operation")]] socket_operation
    : public detail::raw_operation<detail::uapi::op_socket, int> {
public:
    using awaiter = detail::operation_awaiter<socket_operation>;
    socket_operation(int family, int type, int protocol) noexcept
        : raw_operation(
              {.fd = family,
               .length = static_cast<std::uint32_t>(protocol),
               .offset = static_cast<std::uint32_t>(type | close_on_exec)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "socket";
    static constexpr int close_on_exec = 02000000;

    bool begin(detail::run_loop& loop, std::int32_t& result) const noexcept;
    static void reclaim(std::int32_t result) noexcept { detail::close_untaken(result); }
};

/// What `bind` returns.
class [[nodiscard("co_await the operation")]] bind_operation
    : public detail::raw_operation<detail::uapi::op_bind, void> {
public:
    using awaiter = detail::operation_awaiter<bind_operation>;
    bind_operation(int fd, const endpoint& at) noexcept : raw_operation({.fd = fd}), at_(at) {}

private:
    friend awaiter;
    static constexpr const char* name = "bind";

    bool begin(detail::run_loop& loop, std::int32_t& result) noexcept;

    endpoint at_;
};

/// What `listen` returns.
class [[nodiscard("co_await the operation")]] listen_operation
    : public detail::raw_operation<detail::uapi::op_listen, void> {
public:
    using awaiter = detail::operation_awaiter<listen_operation>;
    listen_operation(int fd, int backlog) noexcept
        : raw_operation({.fd = fd, .length = static_cast<std::uint32_t>(backlog)}) {}

private:
    friend awaiter;
    static constexpr const char* name = "listen";

    bool begin(detail::run_loop& loop, std::int32_t& result) const noexcept;
};

/// What `accept` returns.
class [[nodiscard("co_await the operation")]] accept_operation
    : public detail::raw_operation<detail::uapi::op_accept, int> {
public:
    using awaiter = detail::operation_awaiter<accept_operation>;
    accept_operation(int fd, endpoint* peer, int flags) noexcept
        : raw_operation({.fd = fd, .flags = static_cast<std::uint32_t>(flags | close_on_exec)}),
          peer_(peer) {}

private:
    friend awaiter;
    static constexpr const char* name = "accept";
    static constexpr int close_on_exec = 02000000;

    bool begin(detail::run_loop& loop, std::int32_t&) const noexcept {
        loop.doubt(entry_.fd);
        return true;
    }
    void prepare(detail::submission& entry) noexcept {
        raw_operation::prepare(entry);
        if (peer_ != nullptr) {
            peer_size_ = static_cast<std::uint32_t>(endpoint::capacity());
            entry.address = detail::address_of(peer_->data());
            entry.offset = detail::address_of(&peer_size_);
        }
    }
    static bool again(std::int32_t result) noexcept { return result == -EAGAIN; }
    result_type take(std::int32_t result) noexcept {
        if (peer_ != nullptr && result >= 0) {
            peer_->resize(peer_size_);
        }
        return raw_operation::take(result);
    }
    static void reclaim(std::int32_t result) noexcept { detail::close_untaken(result); }

    endpoint* peer_;
    std::uint32_t peer_size_ = 0;
};

/// What `connect` returns.
class [[nodiscard("co_await the operation")]] connect_operation
    : public detail::raw_operation<detail::uapi::op_connect, void> {
public:
    using awaiter = detail::operation_awaiter<connect_operation>;
    connect_operation(int fd, const endpoint& to) noexcept : raw_operation({.fd = fd}), to_(to) {}

private:
    friend awaiter;
    static constexpr const char* name = "connect";

    bool begin(detail::run_loop& loop, std::int32_t&) noexcept {
        loop.doubt(entry_.fd);
        entry_.address = detail::address_of(to_.data());
        entry_.offset = to_.size();
        return true;
    }

    endpoint to_;
};

/// What `recv` returns.
class [[nodiscard("co_await the operation")]] recv_operation
    : public detail::raw_transfer<detail::uapi::op_recv> {
public:
    using awaiter = detail::operation_awaiter<recv_operation>;
    recv_operation(int fd, std::span<std::byte> buffer, int flags) noexcept
        : raw_transfer(
              {.fd = fd,
               .length = detail::clamp_length(buffer.size()),
               .address = detail::address_of(buffer.data()),
               .flags = static_cast<std::uint32_t>(flags)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "recv";
};

/// What `send` returns.
class [[nodiscard("co_await the operation")]] send_operation
    : public detail::raw_transfer<detail::uapi::op_send> {
public:
    using awaiter = detail::operation_awaiter<send_operation>;
    send_operation(int fd, std::span<const std::byte> buffer, int flags) noexcept
        : raw_transfer(
              {.fd = fd,
               .length = detail::clamp_length(buffer.size()),
               .address = detail::address_of(buffer.data()),
               .flags = static_cast<std::uint32_t>(flags | detail::message_nosignal)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "send";
};

/// What `recvmsg` returns.
class [[nodiscard("co_await the operation")]] recvmsg_operation
    : public detail::raw_transfer<detail::uapi::op_recvmsg> {
public:
    using awaiter = detail::operation_awaiter<recvmsg_operation>;
    recvmsg_operation(int fd, ::msghdr& message, int flags) noexcept
        : raw_transfer(
              {.fd = fd,
               .length = 1,
               .address = detail::address_of(&message),
               .flags = static_cast<std::uint32_t>(flags)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "recvmsg";
};

/// What `sendmsg` returns.
class [[nodiscard("co_await the operation")]] sendmsg_operation
    : public detail::raw_transfer<detail::uapi::op_sendmsg> {
public:
    using awaiter = detail::operation_awaiter<sendmsg_operation>;
    sendmsg_operation(int fd, const ::msghdr& message, int flags) noexcept
        : raw_transfer(
              {.fd = fd,
               .length = 1,
               .address = detail::address_of(&message),
               .flags = static_cast<std::uint32_t>(flags | detail::message_nosignal)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "sendmsg";
};

/// What `recvfrom` returns.
class [[nodiscard("co_await the operation")]] recvfrom_operation
    : public detail::raw_transfer<detail::uapi::op_recvmsg> {
public:
    using awaiter = detail::operation_awaiter<recvfrom_operation>;
    recvfrom_operation(int fd, std::span<std::byte> buffer, endpoint& from, int flags) noexcept
        : raw_transfer({.fd = fd, .length = 1, .flags = static_cast<std::uint32_t>(flags)}),
          piece_(buffer), from_(&from) {}

private:
    friend awaiter;
    static constexpr const char* name = "recvfrom";

    void prepare(detail::submission& entry) noexcept {
        message_.name = from_->data();
        message_.name_size = static_cast<std::uint32_t>(endpoint::capacity());
        message_.buffers = &piece_;
        message_.buffer_count = 1;
        entry_.address = detail::address_of(&message_);
        raw_transfer::prepare(entry);
    }
    result_type take(std::int32_t result) noexcept {
        if (result >= 0) {
            from_->resize(message_.name_size);
        }
        return raw_transfer::take(result);
    }

    detail::message_header message_;
    mutable_buffer piece_;
    endpoint* from_;
};

/// What `sendto` returns.
class [[nodiscard("co_await the operation")]] sendto_operation
    : public detail::raw_transfer<detail::uapi::op_sendmsg> {
public:
    using awaiter = detail::operation_awaiter<sendto_operation>;
    sendto_operation(
        int fd, std::span<const std::byte> buffer, const endpoint& to, int flags
    ) noexcept
        : raw_transfer(
              {.fd = fd,
               .length = 1,
               .flags = static_cast<std::uint32_t>(flags | detail::message_nosignal)}
          ),
          piece_(buffer), to_(to) {}

private:
    friend awaiter;
    static constexpr const char* name = "sendto";

    void prepare(detail::submission& entry) noexcept {
        message_.name = to_.data();
        message_.name_size = static_cast<std::uint32_t>(to_.size());
        message_.buffers = &piece_;
        message_.buffer_count = 1;
        entry_.address = detail::address_of(&message_);
        raw_transfer::prepare(entry);
    }

    detail::message_header message_;
    const_buffer piece_;
    endpoint to_;
};

/// What `shutdown` returns.
class [[nodiscard("co_await the operation")]] shutdown_operation
    : public detail::raw_operation<detail::uapi::op_shutdown, void> {
public:
    using awaiter = detail::operation_awaiter<shutdown_operation>;
    shutdown_operation(int fd, shutdown_side side) noexcept
        : raw_operation({.fd = fd, .length = static_cast<std::uint32_t>(side)}) {}

private:
    friend awaiter;
    static constexpr const char* name = "shutdown";
    static constexpr bool never_refused = true;
};

/// Makes a socket, close-on-exec; closed again if nobody takes it. 5.19, by the plain call before.
/// socket(2).
inline socket_operation socket(int family, int type, int protocol = 0) noexcept {
    return socket_operation(family, type, protocol);
}

/// Names a socket. 6.11, by the plain call before. bind(2).
inline bind_operation bind(int fd, const endpoint& at) noexcept {
    return bind_operation(fd, at);
}

/// Makes a socket accept connections. 6.11, by the plain call before. listen(2).
inline listen_operation listen(int fd, int backlog) noexcept {
    return listen_operation(fd, backlog);
}

/// Accepts a connection, close-on-exec; closed again if nobody takes it. 5.5, accept4(2).
///
/// \param flags  SOCK_NONBLOCK or nothing.
inline accept_operation accept(int fd, int flags = 0) noexcept {
    return accept_operation(fd, nullptr, flags);
}
/// The same; stores the peer's address in `peer`, which outlives the suspension.
inline accept_operation accept(int fd, endpoint& peer, int flags = 0) noexcept {
    return accept_operation(fd, &peer, flags);
}

/// Connects a socket. 5.5, connect(2).
///
/// \par Cancellation  The handshake goes on all the same: close the socket.
inline connect_operation connect(int fd, const endpoint& to) noexcept {
    return connect_operation(fd, to);
}

/// Receives from a socket. 5.6, recv(2).
///
/// With MSG_TRUNC in `flags` a datagram that is longer than `buffer` yields its whole length.
inline recv_operation recv(int fd, std::span<std::byte> buffer, int flags = 0) noexcept {
    return recv_operation(fd, buffer, flags);
}

/// Sends on a socket, with MSG_NOSIGNAL. 5.6, send(2).
///
/// Kernels up to 6.18 and perhaps later send an empty message in place of one that had to wait for
/// room at a Unix datagram socket. There, send with MSG_DONTWAIT and wait with `poll`.
inline send_operation send(int fd, std::span<const std::byte> buffer, int flags = 0) noexcept {
    return send_operation(fd, buffer, flags);
}

/// Receives a message as the header says, and writes back what came: the address, control data,
/// flags. 5.3, recvmsg(2).
///
/// Descriptors that arrive in control data are the caller's, also where the outcome is not taken.
inline recvmsg_operation recvmsg(int fd, ::msghdr& message, int flags = 0) noexcept {
    return recvmsg_operation(fd, message, flags);
}

/// Sends a message as the header says, with MSG_NOSIGNAL. See `send`. 5.3, sendmsg(2).
inline sendmsg_operation sendmsg(int fd, const ::msghdr& message, int flags = 0) noexcept {
    return sendmsg_operation(fd, message, flags);
}

/// Receives, and stores the sender's address in `from`, which outlives the suspension. See `recv`.
/// 5.3, as a recvmsg(2).
inline recvfrom_operation
recvfrom(int fd, std::span<std::byte> buffer, endpoint& from, int flags = 0) noexcept {
    return recvfrom_operation(fd, buffer, from, flags);
}

/// Sends to an address, with MSG_NOSIGNAL. See `send`. 5.3, as a sendmsg(2).
inline sendto_operation
sendto(int fd, std::span<const std::byte> buffer, const endpoint& to, int flags = 0) noexcept {
    return sendto_operation(fd, buffer, to, flags);
}

/// Ends one direction, or both. Not refused in a canceled scope. 5.11, shutdown(2).
///
/// The kernel's ring hands it to a thread of its own; `stream::shutdown` is the plain call.
inline shutdown_operation shutdown(int fd, shutdown_side side) noexcept {
    return shutdown_operation(fd, side);
}

} // namespace gyre::inline v0::op
