#pragma once

#include <gyre/detail/assert.hpp>
#include <gyre/net/ancillary.hpp>
#include <gyre/net/batch.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/message.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/recvfrom.hpp>
#include <gyre/net/sendto.hpp>
#include <gyre/net/socket_file.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

struct datagram_pair;

/// What `datagram::receive_details` switches on: which ancillary data messages bring. Each needs
/// room in the `control_buffer`.
struct message_details {
    bool packet = false;        ///< IP_PKTINFO, IPV6_RECVPKTINFO.
    bool hop_limit = false;     ///< IP_RECVTTL, IPV6_RECVHOPLIMIT.
    bool traffic_class = false; ///< IP_RECVTOS, IPV6_RECVTCLASS.
    bool timestamp = false;     ///< SO_TIMESTAMPNS.
    bool dropped = false;       ///< SO_RXQ_OVFL.
    bool segments = false;      ///< UDP_GRO: a message may be several datagrams.
    bool errors = false;        ///< IP_RECVERR, IPV6_RECVERR: see `try_recv_error`.
};
static_assert(std::is_trivially_destructible_v<message_details>);

/// A message that could not be sent: what `datagram::try_recv_error` yields.
struct failed_message {
    queued_error why;
    endpoint to;       ///< Where it was to go; unspecified where that is not known.
    message_size size; ///< What is left of its bytes.
};

/// How `datagram::bind` and `datagram::unbound` make a socket.
struct datagram_options {
    /// SO_REUSEADDR: share address and port. Of unicast datagrams the last one bound gets all; of
    /// those to a group or a broadcast each gets a copy.
    bool reuse_address = false;
    /// SO_REUSEPORT: share the port with sockets of the same user; the kernel spreads the senders
    /// over them.
    bool reuse_port = false;
    /// IPV6_V6ONLY; unset leaves it as the system has it.
    std::optional<bool> v6_only = std::nullopt;
    /// SO_BROADCAST: sends to a broadcast address are allowed.
    bool broadcast = false;
    /// What becomes of the file, for `bind` to a Unix path.
    socket_file_options file = {};
};
static_assert(std::is_trivially_destructible_v<datagram_options>);

/// Which multicast group, where, from whom.
struct membership {
    /// The group's address; its port does not count.
    endpoint group;
    /// The interface to listen at; 0 for the scope of an IPv6 group, else the one the routes say.
    std::uint32_t interface_index = 0;
    /// Only what this address sends; unspecified for what anybody sends.
    endpoint source = {};
};
static_assert(std::is_trivially_destructible_v<membership>);

/// A socket that keeps the boundaries of messages: UDP or Unix datagram. Owns its descriptor.
///
/// One receive and one send may be in flight at the same time; a second one of a kind is a broken
/// precondition. Used by the thread of one scheduler.
class datagram : public descriptor {
public:
    /// Binds to `at`.
    ///
    /// \param at       where; port 0 lets the kernel choose, see `local_endpoint`, and so does
    ///                 "unix:", for an abstract name. Text is parsed: "127.0.0.1:7000",
    ///                 "[::1]:7000", "unix:/run/log.sock".
    /// \throws std::system_error  `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `EMFILE`, ...; the
    ///                            message says what failed, where, and what helps.
    static datagram bind(const endpoint& at, const datagram_options& options = {});
    /// The same, but yields the error.
    static result<datagram>
    try_bind(const endpoint& at, const datagram_options& options = {}) noexcept;

    /// A socket without an address of its own: an IP one gets a port with its first send or
    /// `connect`; a Unix one can send, and nobody can answer it.
    ///
    /// \throws std::system_error  `EAFNOSUPPORT`, `EMFILE`, `ENFILE`; `EINVAL` an unspecified
    ///                            family.
    static datagram unbound(address_family family, const datagram_options& options = {});
    /// The same, but yields the error.
    static result<datagram>
    try_unbound(address_family family, const datagram_options& options = {}) noexcept;

    /// Two Unix datagram sockets connected to each other; socketpair(2).
    ///
    /// \throws std::system_error  `EMFILE`, `ENFILE`.
    static datagram_pair pair();

    datagram(datagram&&) noexcept = default;
    datagram& operator=(datagram&& other) noexcept;

    /// Takes over a datagram socket. Whether it is O_NONBLOCK or connected makes no difference.
    static datagram adopt(int fd) noexcept;
    /// The same, once it has looked what `fd` is: see `stream::try_adopt`.
    static result<datagram> try_adopt(int fd) noexcept;
    static result<datagram> try_adopt(owned_descriptor&& from) noexcept;
    /// Gives the number away: see `listener::release`. The file of a Unix path stays.
    int release() noexcept {
        file_.forget();
        return release_number();
    }
    /// A second one on the same socket: see `stream::dup`. Messages go to whichever receives first.
    /// A file that is to be removed goes with this one.
    result<datagram> dup() const noexcept;

    /// Makes `peer` the address that `send` sends to, and the only one to receive from; connect(2).
    /// Does not wait, and tells the peer nothing. May be called again. A Unix datagram socket loses
    /// the messages of others that it has not received yet.
    ///
    /// \par Errors  `ECONNREFUSED` a Unix address that nobody is bound to. `ENETUNREACH`,
    ///              `EHOSTUNREACH` no route. `EACCES` a broadcast address without `broadcast`.
    ///              `EPERM` a Unix socket that is connected to somebody else. `EAFNOSUPPORT`,
    ///              `EINVAL`, `EPROTOTYPE` an address of another family or kind.
    result<void> connect(const endpoint& peer) noexcept;

    /// Undoes `connect`: it receives from anybody again, and `send` has nobody to send to.
    ///
    /// What was bound stays bound: the address given to `bind`, and the port, also one that the
    /// kernel chose. (The kernel releases such a port; gyre binds to it again at once.) A Unix
    /// datagram socket loses the messages that it has not received yet.
    ///
    /// \par Errors  `EADDRINUSE` another socket took the port in between.
    result<void> disconnect() noexcept;

    using descriptor::peer_endpoint;

    /// Receives the next message.
    ///
    /// Suspends until one arrives. An empty message is a message like any other: nothing means the
    /// end, since a datagram socket has none.
    ///
    /// \param buffer  where the bytes go; at most INT_MAX bytes are used. With an empty buffer the
    ///                message is taken, and its size told.
    /// \param sender  becomes the sender's address; unspecified for a Unix socket that is not
    ///                bound.
    /// \param flags   MSG_ values such as MSG_PEEK, MSG_DONTWAIT, MSG_ERRQUEUE.
    /// \return        how many bytes were stored, and how long the message was; `truncated()` if
    ///                not all of it fitted. The rest of it is gone.
    ///
    /// \par Errors        `ECONNREFUSED`, on a connected socket: an earlier message was not taken
    ///                    (an ICMP message said so). It is told once, and the socket goes on.
    ///                    `EHOSTUNREACH`, `ENETUNREACH` and others, with IP_RECVERR only.
    ///                    `ECONNRESET` the Unix peer has disconnected with messages unread; that
    ///                    it has closed is told to sends only.
    ///                    `EAGAIN` nothing is there, with MSG_DONTWAIT. `ECANCELED` canceled, and
    ///                    no message had been taken.
    /// \par Cancellation  The task resumes after the kernel is done with `buffer`, never before. A
    ///                    message that won the race is the result.
    /// \par Lifetime      `*this`, `sender` and the memory behind `buffer` outlive the suspension.
    /// \par Concurrency   One receive and one send may be in flight together on one datagram.
    /// \par Kernel        5.3. IORING_OP_RECVMSG with MSG_TRUNC; recvmsg(2).
    recvfrom_operation
    recvfrom(std::span<std::byte> buffer, endpoint& sender, int flags = 0) noexcept {
        return recvfrom_operation(socket_, domain_, buffer, &sender, nullptr, flags);
    }
    /// The scatter form: fills `buffers` one after the other. The list outlives the suspension.
    recvfrom_operation
    recvfrom(std::span<const mutable_buffer> buffers, endpoint& sender, int flags = 0) noexcept {
        return recvfrom_operation(socket_, domain_, buffers, &sender, nullptr, flags);
    }

    /// The same as `recvfrom` without the sender's address: for a connected socket.
    ///
    /// \par Kernel  5.6. IORING_OP_RECV with MSG_TRUNC; recv(2).
    recv_message_operation recv(std::span<std::byte> buffer, int flags = 0) noexcept {
        return recv_message_operation(socket_, buffer, flags);
    }
    /// The scatter form. The list outlives the suspension.
    recvfrom_operation recv(std::span<const mutable_buffer> buffers, int flags = 0) noexcept {
        return recvfrom_operation(socket_, domain_, buffers, nullptr, nullptr, flags);
    }

    /// The same as `recvfrom`, with what came beside the bytes. Which kinds come is decided by
    /// options: see ip_option.hpp.
    ///
    /// \param control  takes the ancillary data, of which it says itself whether all of it fitted.
    ///                 Descriptors in it are close-on-exec and belong to it. It outlives the
    ///                 suspension.
    recvmsg_operation recvmsg(
        std::span<std::byte> buffer, endpoint& sender, any_control_buffer& control, int flags = 0
    ) noexcept {
        return recvmsg_operation(socket_, domain_, buffer, &sender, &control, flags);
    }
    /// The scatter form. The list outlives the suspension.
    recvmsg_operation recvmsg(
        std::span<const mutable_buffer> buffers,
        endpoint& sender,
        any_control_buffer& control,
        int flags = 0
    ) noexcept {
        return recvmsg_operation(socket_, domain_, buffers, &sender, &control, flags);
    }

    /// Receives a message that is there, without waiting and without a scheduler.
    ///
    /// \par Errors  `EAGAIN` nothing is there. Else as for `recvfrom`.
    result<message_size>
    try_recvfrom(std::span<std::byte> buffer, endpoint& sender, int flags = 0) noexcept;
    result<message_size> try_recv(std::span<std::byte> buffer, int flags = 0) noexcept;
    result<message_size> try_recvmsg(
        std::span<std::byte> buffer, endpoint& sender, any_control_buffer& control, int flags = 0
    ) noexcept;

    /// Receives several messages: all that are there, as far as `messages` goes. Suspends until
    /// there is one. Where messages come faster than they are worked on, this takes one kernel
    /// entry for many.
    ///
    /// \param messages  room for each of them; not empty. Buffers, sizes and senders are filled from
    ///                  the first one on.
    /// \return          how many were received. An error that came after some is told with them, and
    ///                  told once.
    ///
    /// \par Errors        As for `recvfrom`.
    /// \par Cancellation  As for `recvfrom`.
    /// \par Lifetime      `*this`, `messages` and their buffers outlive the suspension.
    /// \par Kernel        recvmmsg(2) for what is there, without waiting; 5.3 IORING_OP_RECVMSG to
    ///                    wait for the first.
    recv_batch_operation recv_batch(std::span<incoming_message> messages, int flags = 0) noexcept {
        GYRE_ASSERT(!messages.empty(), "recv_batch needs room for at least one message");
        return recv_batch_operation(socket_, domain_, messages, flags);
    }

    /// Takes the next entry of the error queue, which `message_details::errors` switches on: a
    /// message that was not delivered, and why. A receive or send that fails says that there may be
    /// one. To wait for one, call `recvmsg` with MSG_ERRQUEUE, and look at `control.error()`.
    ///
    /// \param buffer  what is left of the message's bytes goes here; may be empty.
    ///
    /// \par Errors  `EAGAIN` the queue is empty.
    /// \par Kernel  recvmsg(2) with MSG_ERRQUEUE; ip(7).
    result<failed_message> try_recv_error(std::span<std::byte> buffer = {}) noexcept;

    /// Has messages bring these details beside their bytes, whichever family the socket is of; see
    /// `recvmsg`. What is not asked for stays as it is.
    ///
    /// \par Errors  `ENOPROTOOPT`, `EOPNOTSUPP` this kind of socket has no such detail.
    result<void> receive_details(const message_details& which) noexcept;

    /// Sends a message.
    ///
    /// Suspends while there is no room for it: in this socket, or in the queue of a Unix receiver.
    /// A message is sent whole or not at all. Never raises SIGPIPE.
    ///
    /// \param buffer  the bytes; may be empty.
    /// \param to      the receiver, also of a connected socket.
    /// \param flags   MSG_ values such as MSG_DONTWAIT, MSG_CONFIRM.
    /// \return        the number of bytes, which is that of `buffer`.
    ///
    /// \par Errors        `EMSGSIZE` more than the kind of socket takes in one message, or more
    ///                    than the path does and the message must not be cut
    ///                    (IP_PMTUDISC_DO). `ECONNREFUSED` an earlier message of a connected
    ///                    socket was not taken; or a Unix address that nobody is bound to.
    ///                    `ENOENT` a Unix path that is not there. `EACCES` a broadcast address
    ///                    without `broadcast`; a Unix path without permission. `EPERM` a packet
    ///                    filter; a Unix receiver that is connected to somebody else.
    ///                    `ENETUNREACH`, `EHOSTUNREACH` no route. `EINVAL` port 0. `ENOBUFS`,
    ///                    `ENOMEM` the kernel or an interface is short of memory.
    ///                    `EDESTADDRREQ`, `ENOTCONN` a send of one that is not connected. `EPIPE`
    ///                    it was shut down. `EAGAIN` no room, with MSG_DONTWAIT. `ECANCELED`
    ///                    canceled, and nothing was sent.
    /// \par Cancellation  A message that was taken is the result.
    /// \par Lifetime      `*this`, `to` and the memory behind `buffer` outlive the suspension.
    /// \par Kernel        6.1. IORING_OP_SEND with an address; before, IORING_OP_SENDMSG (5.3).
    ///                    sendto(2).
    sendto_operation
    sendto(std::span<const std::byte> buffer, const endpoint& to, int flags = 0) noexcept {
        return sendto_operation(socket_, is_unix_, buffer, &to, nullptr, flags);
    }
    /// The gather form: one message of all `buffers`. The list outlives the suspension.
    ///
    /// \par Kernel  5.3. IORING_OP_SENDMSG; sendmsg(2).
    sendto_operation
    sendto(std::span<const const_buffer> buffers, const endpoint& to, int flags = 0) noexcept {
        return sendto_operation(socket_, is_unix_, buffers, &to, nullptr, flags);
    }

    /// The same as `sendto`, to the address that it is connected to.
    ///
    /// \par Kernel  5.6. IORING_OP_SEND; send(2).
    sendto_operation send(std::span<const std::byte> buffer, int flags = 0) noexcept {
        return sendto_operation(socket_, is_unix_, buffer, nullptr, nullptr, flags);
    }
    /// The gather form. The list outlives the suspension.
    sendto_operation send(std::span<const const_buffer> buffers, int flags = 0) noexcept {
        return sendto_operation(socket_, is_unix_, buffers, nullptr, nullptr, flags);
    }

    /// The same as `sendto`, with ancillary data.
    ///
    /// \param to       the receiver; the default endpoint for that of a connected socket.
    /// \param control  the ancillary data; it outlives the suspension.
    sendmsg_operation sendmsg(
        std::span<const std::byte> buffer,
        const endpoint& to,
        const any_control_message& control,
        int flags = 0
    ) noexcept {
        return sendmsg_operation(socket_, is_unix_, buffer, named(to), &control, flags);
    }
    /// The gather form. The list outlives the suspension.
    sendmsg_operation sendmsg(
        std::span<const const_buffer> buffers,
        const endpoint& to,
        const any_control_message& control,
        int flags = 0
    ) noexcept {
        return sendmsg_operation(socket_, is_unix_, buffers, named(to), &control, flags);
    }

    /// Sends several messages, one after the other. Those that there is room for take one kernel
    /// entry for many; for the others it waits as `sendto` does.
    ///
    /// \param messages  bytes and receiver of each of them.
    /// \return          how many were sent, and the error of the first that could not be. What
    ///                  follows that one was not tried.
    ///
    /// \par Errors        As for `sendto`.
    /// \par Cancellation  `count()` tells how many were sent before `ECANCELED`.
    /// \par Lifetime      `*this`, `messages`, their bytes and receivers outlive the suspension.
    /// \par Kernel        sendmmsg(2), without waiting; as for `sendto` for what has to wait.
    send_batch_operation
    send_batch(std::span<const outgoing_message> messages, int flags = 0) noexcept {
        return send_batch_operation(socket_, domain_, is_unix_, messages, flags);
    }

    /// Sends a message if there is room for it, without waiting and without a scheduler.
    ///
    /// \par Errors  `EAGAIN` there is no room. Else as for `sendto`.
    result<std::size_t>
    try_sendto(std::span<const std::byte> buffer, const endpoint& to, int flags = 0) noexcept;
    result<std::size_t> try_send(std::span<const std::byte> buffer, int flags = 0) noexcept;
    result<std::size_t> try_sendmsg(
        std::span<const std::byte> buffer,
        const endpoint& to,
        const any_control_message& control,
        int flags = 0
    ) noexcept;

    /// Joins a multicast group; MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP of ip(7), ipv6(7).
    ///
    /// \par Errors  `EINVAL` no multicast address, or one of another family. `ENODEV` no such
    ///              interface, or none has a route to the group. `EADDRINUSE` it is a member
    ///              already. `ENOBUFS` net.ipv4.igmp_max_memberships.
    result<void> join(const membership& which) noexcept;
    /// Leaves a group that was joined with the same values.
    ///
    /// \par Errors  `EADDRNOTAVAIL` it is no member.
    result<void> leave(const membership& which) noexcept;

    /// Closes the descriptor. What is in flight on it is canceled and waited for first; those tasks
    /// get `ECANCELED`. A file that is to be removed is removed first. Not refused in a canceled
    /// scope.
    ///
    /// \par Errors    `EBADF` it was closed before.
    /// \par Lifetime  `*this` outlives the suspension. From the call on it counts as closed.
    /// \par Kernel    close(2).
    close_description close() noexcept { return close_description(*this, &file_); }

private:
    datagram(int fd, detail::domain& home, bool is_unix) noexcept
        : descriptor(fd, home), is_unix_(is_unix) {}

    static const endpoint* named(const endpoint& to) noexcept {
        return to.size() != 0 ? &to : nullptr;
    }
    result<void> configure(address_family family, const datagram_options& options) noexcept;
    result<void> connect_to(const void* address, std::uint32_t size) noexcept;
    result<void> change_membership(const membership& which, bool joins) noexcept;
    result<message_size> receive_now(
        std::span<std::byte> buffer, endpoint* sender, any_control_buffer* control, int flags
    ) noexcept;
    result<std::size_t> send_now(
        std::span<const std::byte> buffer,
        const endpoint* to,
        const any_control_message* control,
        int flags
    ) noexcept;

    detail::socket_file file_; // Of this socket; to be removed before that is closed.
    bool is_unix_;
};

/// What `datagram::pair` returns.
struct datagram_pair {
    datagram_pair(datagram&& one, datagram&& other) noexcept
        : first(std::move(one)), second(std::move(other)) {}
    datagram first;
    datagram second;
};

} // namespace gyre::inline v0
