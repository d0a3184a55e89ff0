#include <gyre/net/datagram.hpp>

#include "net/bind_help.hpp"

#include <gyre/error.hpp>
#include <gyre/net/ancillary.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/ip_option.hpp>
#include <gyre/net/message.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/socket_file.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <system_error>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace gyre::inline v0 {

namespace {

bool is_unix(detail::domain& home, int fd) noexcept {
    int family = AF_UNSPEC;
    std::uint32_t size = sizeof family;
    return home.getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 && family == AF_UNIX;
}

result<void> to_result(int answer) noexcept {
    return answer < 0 ? result<void>(errno_code(-answer)) : result<void>();
}

int raw_family(address_family family) noexcept {
    switch (family) {
    case address_family::ipv4:
        return AF_INET;
    case address_family::ipv6:
        return AF_INET6;
    case address_family::unix_domain:
        return AF_UNIX;
    default:
        return AF_UNSPEC;
    }
}

} // namespace

// Making one.

result<datagram>
datagram::try_unbound(address_family family, const datagram_options& options) noexcept {
    if (family == address_family::unspecified) {
        return errno_code(EINVAL);
    }
    detail::domain& home = detail::current_domain();
    const int fd = home.socket(raw_family(family), SOCK_DGRAM, 0);
    if (fd < 0) {
        return errno_code(-fd);
    }
    datagram made(fd, home, family == address_family::unix_domain);
    const result<void> done = made.configure(family, options);
    if (!done) {
        return done.error();
    }
    return made;
}

result<void> datagram::configure(address_family family, const datagram_options& options) noexcept {
    result<void> done;
    if (family == address_family::unix_domain) {
        return done;
    }
    if (options.reuse_address) {
        done = set_option(gyre::reuse_address(true));
    }
    if (done && options.reuse_port) {
        done = set_option(gyre::reuse_port(true));
    }
    if (done && options.v6_only.has_value() && family == address_family::ipv6) {
        done = set_option(gyre::v6_only(*options.v6_only));
    }
    if (done && options.broadcast) {
        done = set_option(gyre::broadcast(true));
    }
    return done;
}

datagram datagram::unbound(address_family family, const datagram_options& options) {
    result<datagram> made = try_unbound(family, options);
    if (!made) {
        const std::error_code error = made.error();
        throw_error(error, "datagram::unbound", detail::bind_help(error.value(), endpoint(), {}));
    }
    return *std::move(made);
}

result<datagram> datagram::try_bind(const endpoint& at, const datagram_options& options) noexcept {
    result<datagram> made = try_unbound(at.family(), options);
    if (made) {
        const int answer =
            detail::bind_socket(*made->domain_, made->socket_.fd, at, options.file, made->file_);
        if (answer < 0) {
            return errno_code(-answer);
        }
        if (!options.file.remove_on_close) {
            made->file_.forget();
        }
    }
    return made;
}

datagram datagram::bind(const endpoint& at, const datagram_options& options) {
    result<datagram> made = try_bind(at, options);
    if (!made) {
        const std::error_code error = made.error();
        throw_error(
            error,
            "datagram::bind " + at.to_string(),
            detail::bind_help(error.value(), at, options.file)
        );
    }
    return *std::move(made);
}

datagram& datagram::operator=(datagram&& other) noexcept {
    if (this != &other) {
        file_ = std::move(other.file_); // Removes the file of this one while its socket is open.
        is_unix_ = other.is_unix_;
        descriptor::operator=(std::move(other));
    }
    return *this;
}

datagram_pair datagram::pair() {
    detail::domain& home = detail::current_domain();
    int fds[2];
    const int answer = home.socketpair(AF_UNIX, SOCK_DGRAM, 0, fds);
    if (answer < 0) {
        throw_error(errno_code(-answer), "datagram::pair");
    }
    return datagram_pair(datagram(fds[0], home, true), datagram(fds[1], home, true));
}

datagram datagram::adopt(int fd) noexcept {
    detail::domain& home = detail::kernel_domain();
    home.handed_over(fd);
    return datagram(fd, home, is_unix(home, fd));
}

result<datagram> datagram::try_adopt(int fd) noexcept {
    const int answer = detail::check_socket(detail::kernel_domain(), fd, SOCK_DGRAM, false);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return adopt(fd);
}

result<datagram> datagram::try_adopt(owned_descriptor&& from) noexcept {
    if (!from.is_open()) {
        return errno_code(EBADF);
    }
    detail::domain& home = from.home();
    const int answer = detail::check_socket(home, from.native_handle(), SOCK_DGRAM, false);
    if (answer < 0) {
        return errno_code(-answer);
    }
    const int fd = from.release();
    return datagram(fd, home, is_unix(home, fd));
}

result<datagram> datagram::dup() const noexcept {
    const int fd = dup_number();
    if (fd < 0) {
        return errno_code(-fd);
    }
    return datagram(fd, *domain_, is_unix_);
}

// Connecting.

result<void> datagram::connect_to(const void* address, std::uint32_t size) noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    const int answer = domain_->connect(socket_.fd, address, size);
    if (detail::run_loop* loop = detail::run_loop::current()) {
        // A send that waits for room at the former peer has another one now.
        loop->look_again(socket_.fd);
    }
    return to_result(answer);
}

result<void> datagram::connect(const endpoint& peer) noexcept {
    if (peer.family() == address_family::unspecified) {
        return errno_code(EINVAL);
    }
    return connect_to(peer.data(), static_cast<std::uint32_t>(peer.size()));
}

result<void> datagram::disconnect() noexcept {
    const result<endpoint> before = local_endpoint();
    if (!before) {
        return before.error();
    }
    sockaddr nobody = {};
    nobody.sa_family = AF_UNSPEC;
    result<void> done = connect_to(&nobody, sizeof nobody);
    if (done && before->port() != 0) {
        const result<endpoint> after = local_endpoint();
        if (after && after->port() == 0) { // It was chosen by the kernel, which has released it.
            const endpoint again = after->with_port(before->port());
            const auto size = static_cast<std::uint32_t>(again.size());
            done = to_result(domain_->bind(socket_.fd, again.data(), size));
        }
    }
    return done;
}

// Calls that do not wait.

result<message_size> datagram::receive_now(
    std::span<std::byte> buffer, endpoint* sender, any_control_buffer* control, int flags
) noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    mutable_buffer piece(buffer.first(detail::clamp_length(buffer.size())));
    detail::counted_message message;
    message.header.buffers = &piece;
    message.header.buffer_count = 1;
    if (sender != nullptr) {
        message.header.name = sender->data();
        message.header.name_size = static_cast<std::uint32_t>(endpoint::capacity());
    }
    if (control != nullptr) {
        control->clear();
        control->offer(message.header);
    }
    const int answer =
        domain_->receive_messages_now(socket_.fd, &message, 1, flags | detail::message_truncate);
    if (answer < 0) {
        return errno_code(-answer);
    }
    if (sender != nullptr) {
        sender->resize(message.header.name_size);
    }
    if (control != nullptr) {
        control->accept(*domain_, message.header.control_size, message.header.flags);
    }
    return message_size(std::min<std::size_t>(message.size, piece.size), message.size);
}

result<message_size>
datagram::try_recvfrom(std::span<std::byte> buffer, endpoint& sender, int flags) noexcept {
    return receive_now(buffer, &sender, nullptr, flags);
}

result<message_size> datagram::try_recv(std::span<std::byte> buffer, int flags) noexcept {
    return receive_now(buffer, nullptr, nullptr, flags);
}

result<message_size> datagram::try_recvmsg(
    std::span<std::byte> buffer, endpoint& sender, any_control_buffer& control, int flags
) noexcept {
    return receive_now(buffer, &sender, &control, flags);
}

result<failed_message> datagram::try_recv_error(std::span<std::byte> buffer) noexcept {
    failed_message failed;
    control_buffer<512> control; // Whatever else was switched on comes as well.
    const result<message_size> size = receive_now(buffer, &failed.to, &control, MSG_ERRQUEUE);
    if (!size) {
        return size.error();
    }
    if (const auto why = control.error()) {
        failed.why = *why;
    }
    failed.size = *size;
    return failed;
}

result<void> datagram::receive_details(const message_details& which) noexcept {
    int family = AF_UNSPEC;
    result<void> done = raw_option(SOL_SOCKET, SO_DOMAIN, &family, sizeof family);
    const bool is_ipv6 = family == AF_INET6;
    const auto set = [&](bool wanted, const auto& wish) {
        if (done && wanted) {
            done = set_option(wish);
        }
    };
    if (is_ipv6) {
        set(which.packet, v6_receive_packet(true));
        set(which.hop_limit, v6_receive_hop_limit(true));
        set(which.traffic_class, v6_receive_traffic_class(true));
        set(which.errors, v6_receive_errors(true));
    }
    // An IPv6 socket may talk IPv4 too. It tells the packet's addresses as its own kind.
    set(which.packet && !is_ipv6, v4_receive_packet(true));
    set(which.hop_limit, v4_receive_time_to_live(true));
    set(which.traffic_class, v4_receive_type_of_service(true));
    set(which.errors, v4_receive_errors(true));
    set(which.timestamp, receive_timestamps(true));
    set(which.dropped, receive_dropped(true));
    set(which.segments, udp_receive_segments(true));
    return done;
}

result<std::size_t> datagram::send_now(
    std::span<const std::byte> buffer,
    const endpoint* to,
    const any_control_message* control,
    int flags
) noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    const_buffer piece(buffer.first(detail::clamp_length(buffer.size())));
    detail::counted_message message;
    message.header.buffers = &piece;
    message.header.buffer_count = 1;
    if (to != nullptr) {
        message.header.name = const_cast<void*>(to->data());
        message.header.name_size = static_cast<std::uint32_t>(to->size());
    }
    if (control != nullptr && control->size() != 0) {
        message.header.control = const_cast<std::byte*>(control->data());
        message.header.control_size = control->size();
    }
    const int answer = domain_->send_messages_now(socket_.fd, &message, 1, flags);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return static_cast<std::size_t>(message.size);
}

result<std::size_t>
datagram::try_sendto(std::span<const std::byte> buffer, const endpoint& to, int flags) noexcept {
    return send_now(buffer, &to, nullptr, flags);
}

result<std::size_t> datagram::try_send(std::span<const std::byte> buffer, int flags) noexcept {
    return send_now(buffer, nullptr, nullptr, flags);
}

result<std::size_t> datagram::try_sendmsg(
    std::span<const std::byte> buffer,
    const endpoint& to,
    const any_control_message& control,
    int flags
) noexcept {
    return send_now(buffer, named(to), &control, flags);
}

// Groups.

result<void> datagram::change_membership(const membership& which, bool joins) noexcept {
    const bool is_ipv6 = which.group.family() == address_family::ipv6;
    if (!is_ipv6 && which.group.family() != address_family::ipv4) {
        return errno_code(EINVAL);
    }
    const int level = is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
    const std::uint32_t interface_index =
        which.interface_index != 0 ? which.interface_index : which.group.scope_id();
    if (which.source.family() == address_family::unspecified) {
        group_req wish = {};
        wish.gr_interface = interface_index;
        std::memcpy(&wish.gr_group, which.group.data(), which.group.size());
        const int name = joins ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP;
        return set_raw_option(level, name, &wish, sizeof wish);
    }
    if (which.source.family() != which.group.family()) {
        return errno_code(EINVAL);
    }
    group_source_req wish = {};
    wish.gsr_interface = interface_index;
    std::memcpy(&wish.gsr_group, which.group.data(), which.group.size());
    std::memcpy(&wish.gsr_source, which.source.data(), which.source.size());
    const int name = joins ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP;
    return set_raw_option(level, name, &wish, sizeof wish);
}

result<void> datagram::join(const membership& which) noexcept {
    return change_membership(which, true);
}

result<void> datagram::leave(const membership& which) noexcept {
    return change_membership(which, false);
}

} // namespace gyre::inline v0
