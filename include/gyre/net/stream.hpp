#pragma once

#include <gyre/net/descriptor.hpp>
#include <gyre/net/option.hpp>
#include <gyre/operation/recv.hpp>
#include <gyre/operation/send.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

class any_control_buffer;
class any_control_message;
class connect_operation;
class close_description;
class recv_control_operation;
class send_control_operation;
class owned_descriptor;
struct stream_pair;
namespace detail {
class socket_file;
}

/// Which directions of a stream `shutdown` ends; the values of shutdown(2).
enum class shutdown_side : std::uint8_t { receive = 0, send = 1, both = 2 };

/// How `stream::connect` connects.
struct connect_options {
    /// The local endpoint to connect from; by default the kernel chooses. A Unix path makes a file,
    /// which stays.
    endpoint from = {};
    /// TCP_NODELAY.
    bool no_delay = true;
    /// TCP_FASTOPEN_CONNECT: send the first data with the SYN. The connect then succeeds at once,
    /// and its errors come with the first operation.
    bool fast_open = false;
};
static_assert(std::is_trivially_destructible_v<connect_options>);

/// A connected byte stream: TCP or Unix domain. Owns its descriptor.
///
/// One receive and one send may be in flight at the same time; two of a kind would corrupt the
/// order of the bytes and are a broken precondition. Used by the thread of one scheduler.
class stream : public descriptor {
public:
    /// Connects to `to`.
    ///
    /// \param to       an IPv4, IPv6 or Unix domain endpoint.
    /// \param options  the local endpoint and the socket options.
    /// \return         the connected stream.
    ///
    /// \par Errors        `ECONNREFUSED` nobody listens there. `ETIMEDOUT`, `EHOSTUNREACH`,
    ///                    `ENETUNREACH` the network. `EADDRINUSE`, `EADDRNOTAVAIL` the local
    ///                    endpoint. `EMFILE`, `ENFILE` no descriptor left. `ECANCELED` the task was
    ///                    canceled.
    /// \par Cancellation  The half-open connection is closed.
    /// \par Kernel        5.5. IORING_OP_CONNECT; io_uring_prep_connect(3), connect(2).
    static connect_operation
    connect(const endpoint& to, const connect_options& options = {}) noexcept;

    /// Two streams connected to each other; socketpair(2) with AF_UNIX.
    ///
    /// \throws std::system_error  `EMFILE`, `ENFILE`.
    static stream_pair pair();

    /// Takes over a connected stream socket. Whether it is O_NONBLOCK makes no difference.
    static stream adopt(int fd) noexcept;
    /// The same, once it has looked what `fd` is. If it is something else, it stays the caller's.
    ///
    /// \par Errors  `EBADF`, `ENOTSOCK` it is none. `EPROTOTYPE` a socket of another type.
    ///              `EINVAL` a listener.
    static result<stream> try_adopt(int fd) noexcept;
    /// The same; `from` is left with nothing if it succeeds, and with what it had if not.
    static result<stream> try_adopt(owned_descriptor&& from) noexcept;

    /// Gives the number away, which is the caller's to close from here on: nothing may be in
    /// flight. What an engine has set on it is taken back. -1 if the stream was closed.
    int release() noexcept { return release_number(); }

    /// A second stream on the same connection, with a descriptor of its own, close-on-exec; dup(2).
    /// The connection ends when both are closed. Receives on both compete for the bytes.
    ///
    /// \par Errors  `EMFILE`. `EBADF` it was closed.
    result<stream> dup() const noexcept;

    /// Receives up to `buffer.size()` bytes from the peer.
    ///
    /// Suspends until at least one byte arrives, the peer closes its sending side, or the operation
    /// is canceled. May receive fewer bytes than asked for; `recv_exactly` fills a whole buffer.
    ///
    /// \param buffer  where the bytes go; not empty. At most INT_MAX bytes are used per call.
    /// \param flags   MSG_ values such as MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT.
    /// \return        the number of bytes received; 0 when the peer has closed.
    ///
    /// \par Errors        `ECONNRESET` the peer reset the connection. `ENOTCONN` not connected.
    ///                    `EAGAIN` nothing is there, with MSG_DONTWAIT. `ECANCELED` canceled, and
    ///                    no byte had arrived.
    /// \par Cancellation  The task resumes after the kernel is done with `buffer`, never before.
    ///                    Bytes that won the race are the result, and the stop stays visible in the
    ///                    scope.
    /// \par Lifetime      `*this` and the memory behind `buffer` outlive the suspension.
    /// \par Concurrency   One recv and one send may be in flight together on one stream.
    /// \par Kernel        5.6. IORING_OP_RECV; io_uring_prep_recv(3), recv(2).
    recv_operation recv(std::span<std::byte> buffer, int flags = 0) noexcept {
        return recv_operation(socket_, buffer, flags);
    }

    /// The scatter form of `recv`: fills `buffers` one after the other.
    ///
    /// \par Lifetime  `*this`, the list and the memory behind its elements outlive the suspension.
    /// \par Kernel    5.3. IORING_OP_RECVMSG; recvmsg(2).
    recv_scatter_operation recv(std::span<const mutable_buffer> buffers, int flags = 0) noexcept {
        return recv_scatter_operation(socket_, buffers, flags);
    }

    /// Receives what is there, without waiting and without a scheduler.
    ///
    /// \return  the number of bytes; 0 when the peer has closed.
    /// \par Errors  `EAGAIN` nothing is there. `ECONNRESET` the peer reset the connection.
    result<std::size_t> try_recv(std::span<std::byte> buffer, int flags = 0) noexcept;

    /// Sends up to `buffer.size()` bytes to the peer.
    ///
    /// Suspends until at least one byte is taken. May send fewer bytes than asked for; `send_all`
    /// sends a whole buffer. Never raises SIGPIPE.
    ///
    /// \param buffer  the bytes. At most INT_MAX of them are sent per call.
    /// \param flags   MSG_ values such as MSG_MORE, MSG_WAITALL.
    /// \return        the number of bytes taken.
    ///
    /// \par Errors        `EPIPE` the peer or this side has closed. `ECONNRESET` the peer reset the
    ///                    connection. `ECANCELED` canceled, and no byte had been taken.
    /// \par Cancellation  As for `recv`: bytes that were taken are the result.
    /// \par Lifetime      `*this` and the memory behind `buffer` outlive the suspension.
    /// \par Kernel        5.6. IORING_OP_SEND; io_uring_prep_send(3), send(2).
    send_operation send(std::span<const std::byte> buffer, int flags = 0) noexcept {
        return send_operation(socket_, buffer, flags | detail::message_nosignal);
    }

    /// The gather form of `send`: sends `buffers` one after the other.
    ///
    /// \par Lifetime  `*this`, the list and the memory behind its elements outlive the suspension.
    ///
    /// \par Kernel  5.3. IORING_OP_SENDMSG; sendmsg(2).
    send_gather_operation send(std::span<const const_buffer> buffers, int flags = 0) noexcept {
        return send_gather_operation(socket_, buffers, flags | detail::message_nosignal);
    }

    /// Receives bytes and what travels beside them: descriptors and credentials of a Unix socket.
    ///
    /// A receive ends behind the bytes that descriptors were sent with, so the order of the two is
    /// kept. `recv` would close them unseen. `stream_message.hpp` has the definition.
    ///
    /// \param buffer   where the bytes go; not empty.
    /// \param control  takes what came beside them, and owns the descriptors, close-on-exec. What
    ///                 it held before is closed. Its room bounds what a peer can make this process
    ///                 hold; `truncated()` tells that there was more, or no descriptor left.
    /// \param flags    MSG_ values, but MSG_WAITALL.
    /// \return         the number of bytes received; 0 when the peer has closed.
    ///
    /// \par Errors        As for `recv`.
    /// \par Cancellation  As for `recv`; descriptors that nobody takes are closed.
    /// \par Lifetime      `*this`, `control` and the memory behind `buffer` outlive the suspension.
    /// \par Kernel        5.3. IORING_OP_RECVMSG; recvmsg(2), cmsg(3), unix(7).
    recv_control_operation
    recvmsg(std::span<std::byte> buffer, any_control_buffer& control, int flags = 0) noexcept;

    /// Sends bytes and what travels beside the first of them; may send fewer bytes than asked for,
    /// at least one. Over TCP the kernel drops descriptors without a word. `stream_message.hpp` has
    /// the definition.
    ///
    /// \param bytes    not empty.
    /// \param control  what goes with them. Descriptors in it stay open until the task resumes.
    /// \return         the number of bytes taken.
    ///
    /// \par Errors        As for `send`, and `EBADF` a number that is no open descriptor, `EINVAL`
    ///                    more than 253 of them, `ETOOMANYREFS` more of this
    ///                    user's are on their way than RLIMIT_NOFILE, `EPERM` credentials of others.
    /// \par Cancellation  As for `send`.
    /// \par Lifetime      `*this`, `control` and the memory behind `bytes` outlive the suspension.
    /// \par Kernel        5.3. IORING_OP_SENDMSG; sendmsg(2), cmsg(3), unix(7).
    send_control_operation sendmsg(
        std::span<const std::byte> bytes, const any_control_message& control, int flags = 0
    ) noexcept;

    /// Ends one direction, or both, of the conversation; shutdown(2). Does not wait. The peer reads
    /// all that was sent, then the end.
    ///
    /// \par Errors  `ENOTCONN` the peer is gone.
    result<void> shutdown(shutdown_side side) noexcept;

    /// Says goodbye without destroying the reply: ends the sending side, discards what the peer
    /// still sends until its end, then closes. Closing with unread bytes would reset the connection
    /// and take from the peer what it has not read yet.
    ///
    /// \param limit  how long to wait for the peer's end at most.
    /// \return       nothing, or why the peer's end was not seen: `errc::timed_out`, `ECONNRESET`,
    ///               `ECANCELED`, `ENOTCONN`. The stream is closed in any case; in a canceled scope
    ///               at once, unless it is `shielded`.
    ///
    /// \par Lifetime  `*this` outlives the suspension.
    /// \par Kernel    shutdown(2), 5.6 IORING_OP_RECV, close(2).
    task<result<void>> finish(std::chrono::nanoseconds limit);

    /// Closes the descriptor. What is in flight on it is canceled and waited for first; those tasks
    /// get `ECANCELED`. Not refused in a canceled scope.
    ///
    /// \par Errors    `EIO`; the descriptor is closed all the same. `EBADF` it was closed before.
    /// \par Lifetime  `*this` outlives the suspension. From the call on it counts as closed.
    /// \par Kernel    close(2).
    close_description close() noexcept;

    using descriptor::peer_endpoint;

    /// The state of a TCP connection; TCP_INFO.
    result<tcp_information> tcp_info() const noexcept;

private:
    friend class accept_operation;
    friend class connect_operation;
    friend class send_all_operation;
    friend class recv_exactly_operation;
    stream(int fd, detail::domain& home) noexcept : descriptor(fd, home) {}
};

/// What `stream::pair` returns.
struct stream_pair {
    stream_pair(stream&& one, stream&& other) noexcept
        : first(std::move(one)), second(std::move(other)) {}
    stream first;
    stream second;
};

/// What `stream::connect` returns.
class [[nodiscard("co_await the operation")]] connect_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<connect_operation>;
    using result_type = result<stream>;

    connect_operation(const endpoint& to, const connect_options& options) noexcept
        : connect_operation(to, options, stream_type) {}

protected:
    static constexpr int stream_type = 1; // SOCK_STREAM

    connect_operation(const endpoint& to, const connect_options& options, int type) noexcept
        : to_(to), options_(options), type_(type) {}

    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_connect;
    static constexpr const char* name = "connect";
    static constexpr bool can_poll_first = false;

    bool begin(detail::run_loop& loop, std::int32_t& result) noexcept;
    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = socket_.get();
        entry.address = reinterpret_cast<std::uintptr_t>(to_.data());
        entry.offset = to_.size();
    }
    result_type take(std::int32_t result) noexcept {
        if (result < 0) {
            socket_.reset(); // The handshake of a canceled connect goes on until it is closed.
            return detail::error_of(result);
        }
        detail::domain& home = socket_.home();
        return stream(socket_.release(), home);
    }

    endpoint to_;
    connect_options options_;
    detail::owned_fd socket_;
    int type_;
};

inline connect_operation
stream::connect(const endpoint& to, const connect_options& options) noexcept {
    return connect_operation(to, options);
}

namespace detail {
class close_awaiter;
}

/// What `stream::close` and `listener::close` return.
class [[nodiscard("co_await the close")]] close_description : public detail::awaitable_base {
public:
    using awaiter = detail::close_awaiter;
    /// `file` is removed when the close begins.
    explicit close_description(descriptor& which, detail::socket_file* file = nullptr) noexcept
        : descriptor_(&which), file_(file) {}
    close_description(close_description&& other) noexcept
        : descriptor_(other.descriptor_), file_(other.file_) {}
    ~close_description();

private:
    friend awaiter;
    /// Takes the descriptor out of its owner, so that nothing can begin on it any more, and asks
    /// what is in flight to end.
    void begin() noexcept;
    /// Closes it once that has ended; false if it has not.
    bool try_close(int& error) noexcept;

    descriptor* descriptor_;
    detail::socket_file* file_;
    detail::socket_state closing_;
};

inline close_description stream::close() noexcept {
    return close_description(*this);
}

namespace detail {

/// Cancels what is in flight, then looks again and again whether it has ended.
class close_awaiter final : public pending, private timer {
public:
    using result_type = result<void>;
    static constexpr bool never_refused = true;

    explicit close_awaiter(close_description& description) noexcept
        : pending(kind_of), timer(&look_again), description_(description) {}

    bool start(const task_context& context, waiter& told) noexcept {
        loop_ = context.owner;
        told_ = &told;
        description_.begin();
        if (description_.try_close(error_)) {
            return true;
        }
        loop_->arm_after(*this, look_interval);
        return false;
    }
    result_type take() const noexcept {
        return error_ == 0 ? result_type() : result_type(error_of(-error_));
    }

private:
    static void look_again(timer& base) noexcept {
        auto& self = static_cast<close_awaiter&>(base);
        if (self.description_.try_close(self.error_)) {
            self.told_->notify();
        } else {
            self.loop_->arm_after(self, look_interval);
        }
    }
    static pending* request(pending&, stop_level) noexcept { return nullptr; }
    static constexpr pending_kind kind_of = {&request, "close"};
    // Not each turn: a cancel that the kernel is slow to carry out would keep the loop turning.
    static constexpr engine_time look_interval = 200'000;

    close_description& description_;
    run_loop* loop_ = nullptr;
    waiter* told_ = nullptr;
    int error_ = 0;
};

} // namespace detail
} // namespace gyre::inline v0
