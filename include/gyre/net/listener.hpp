#pragma once

#include <gyre/net/descriptor.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/socket_file.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/operation/operation.hpp>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace gyre::inline v0 {

class accept_operation;
class owned_descriptor;

/// How `listener::bind` binds and listens.
struct listen_options {
    /// How many connections may wait to be accepted, at most as many as the system allows, see
    /// `listener::backlog_limit`; a larger wish is logged. Unset wishes for 4096, without a word.
    std::optional<int> backlog = std::nullopt;
    /// SO_REUSEADDR: bind although connections of an earlier listener linger.
    bool reuse_address = true;
    /// SO_REUSEPORT: share the port with other listeners.
    bool reuse_port = false;
    /// IPV6_V6ONLY; unset leaves it as the system has it.
    std::optional<bool> v6_only = std::nullopt;
    /// TCP_NODELAY, which accepted streams inherit.
    bool no_delay = true;
    /// What becomes of the file, for a Unix path.
    socket_file_options file = {};
};
static_assert(std::is_trivially_destructible_v<listen_options>);

/// A socket that accepts streams. Owns its descriptor. One accept may be in flight. Used by the
/// thread of one scheduler.
class listener : public descriptor {
public:
    /// Binds to `at` and listens.
    ///
    /// \param at       where; port 0 lets the kernel choose, see `local_endpoint`. Text is parsed:
    ///                 "127.0.0.1:7000", "[::1]:7000", "unix:/run/name.sock", "unix:@name"; the
    ///                 kernel chooses an abstract name for "unix:".
    /// \throws std::system_error  `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `EMFILE`, ...; the
    ///                            message says what failed, where, and what helps.
    static listener bind(const endpoint& at, const listen_options& options = {});
    /// The same, but yields the error.
    static result<listener>
    try_bind(const endpoint& at, const listen_options& options = {}) noexcept;

    /// The largest backlog that the system grants now: net.core.somaxconn of this network namespace.
    ///
    /// \par Errors  Those of reading /proc/sys/net/core/somaxconn.
    static result<int> backlog_limit() noexcept;
    /// The backlog that was granted; 0 if gyre does not know it, of a listener that was adopted.
    int backlog() const noexcept { return backlog_; }

    listener(listener&&) noexcept = default;
    listener& operator=(listener&& other) noexcept;
    ~listener() { file_.remove(); }

    /// Takes over a socket that listens, such as one that was inherited or received. Whether it is
    /// O_NONBLOCK makes no difference.
    static listener adopt(int fd) noexcept;
    /// The same, once it has looked what `fd` is. If it is something else, it stays the caller's.
    ///
    /// \par Errors  `EBADF`, `ENOTSOCK` it is none. `EPROTOTYPE` a socket of another type.
    ///              `EINVAL` it does not listen.
    static result<listener> try_adopt(int fd) noexcept;
    /// The same; `from` is left with nothing if it succeeds, and with what it had if not.
    static result<listener> try_adopt(owned_descriptor&& from) noexcept;

    /// Gives the number away, which is the caller's to close from here on: nothing may be in
    /// flight. What an engine has set on it is taken back. The file of a Unix path stays. -1 if the
    /// listener was closed.
    int release() noexcept {
        file_.forget();
        return release_number();
    }

    /// A second listener on the same socket, with a descriptor of its own, close-on-exec; dup(2).
    /// Each connection goes to one of them, and the socket listens until both are closed.
    ///
    /// \par Errors  `EMFILE`. `EBADF` it was closed.
    result<listener> dup() const noexcept;

    /// Accepts the next connection.
    ///
    /// \return  the connected stream, close-on-exec.
    ///
    /// \par Errors        `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` no resources: the connection
    ///                    stays in the backlog, so wait before trying again, as `serve` does.
    ///                    `ECONNABORTED` it was given up by its client. `ECANCELED` canceled.
    /// \par Cancellation  A connection that won the race is the result, or is closed if nobody
    ///                    takes it.
    /// \par Kernel        5.5. IORING_OP_ACCEPT; io_uring_prep_accept(3), accept(2).
    accept_operation accept() noexcept;

    /// The same; stores the peer's address in `peer`, which outlives the suspension.
    accept_operation accept(endpoint& peer) noexcept;

    /// Closes the descriptor. An accept in flight is canceled and waited for first. Connections in
    /// the backlog are reset. A file that is to be removed is removed first.
    ///
    /// \par Errors    `EBADF` it was closed before.
    /// \par Lifetime  `*this` outlives the suspension. From the call on it counts as closed.
    /// \par Kernel    close(2).
    close_description close() noexcept { return close_description(*this, &file_); }

protected:
    // The same for sockets of another type; `what` opens the message.
    static listener
    bind_type(const endpoint& at, const listen_options& options, int type, const char* what);
    static result<listener>
    try_bind_type(const endpoint& at, const listen_options& options, int type) noexcept;
    static result<listener> try_adopt_type(owned_descriptor&& from, int type) noexcept;

private:
    friend class accept_operation;
    listener(int fd, detail::domain& home) noexcept : descriptor(fd, home) {}

    detail::socket_file file_; // Of this socket; to be removed before that is closed.
    int backlog_ = 0;
};

/// What `listener::accept` returns.
class [[nodiscard("co_await the operation")]] accept_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<accept_operation>;
    using result_type = result<stream>;

    accept_operation(listener& from, endpoint* peer) noexcept
        : listener_(&from), home_(from.domain_), peer_(peer) {}

protected:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_accept;
    static constexpr const char* name = "accept";
    static constexpr bool can_poll_first = false;
    static constexpr std::uint32_t close_on_exec = 02000000;

    void prepare(detail::submission& entry) noexcept {
        entry.opcode = opcode;
        entry.fd = listener_->socket_.fd;
        entry.operation_flags = close_on_exec;
        if (peer_ != nullptr) {
            peer_size_ = static_cast<std::uint32_t>(endpoint::capacity());
            entry.address = reinterpret_cast<std::uintptr_t>(peer_->data());
            entry.offset = reinterpret_cast<std::uintptr_t>(&peer_size_);
        }
    }
    bool again(std::int32_t result) const noexcept { return result == -EAGAIN; }
    result_type take(std::int32_t result) noexcept {
        if (result < 0) {
            return detail::error_of(result);
        }
        if (peer_ != nullptr) {
            peer_->resize(peer_size_);
        }
        return stream(result, *home_);
    }
    void reclaim(std::int32_t result) const noexcept { detail::owned_fd(result, *home_).reset(); }
    detail::operation_id* in_flight() const noexcept { return &listener_->socket_.receiving; }

    listener* listener_;
    // Not through the listener, which may go between the completion and the resumption.
    detail::domain* home_;
    endpoint* peer_;
    std::uint32_t peer_size_ = 0;
};

inline accept_operation listener::accept() noexcept {
    return accept_operation(*this, nullptr);
}
inline accept_operation listener::accept(endpoint& peer) noexcept {
    return accept_operation(*this, &peer);
}

} // namespace gyre::inline v0
