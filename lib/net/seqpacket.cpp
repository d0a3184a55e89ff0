#include <gyre/net/seqpacket.hpp>

#include <gyre/error.hpp>
#include <gyre/net/ancillary.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/listener.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/stream_message.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

#include <sys/socket.h>
#include <time.h>

namespace gyre::inline v0 {

static_assert(SOCK_SEQPACKET == 5 && MSG_TRUNC == 0x20 && MSG_CTRUNC == 0x8);
static_assert(MSG_CMSG_CLOEXEC == 0x40000000);
static_assert(CMSG_SPACE(sizeof(timespec)) == 32);

seqpacket::seqpacket(int fd, detail::domain& home) noexcept : descriptor(fd, home) {
    const int on = 1;
    home.setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
}

seqpacket_pair seqpacket::pair() {
    detail::domain& home = detail::current_domain();
    int fds[2];
    const int answer = home.socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds);
    if (answer < 0) {
        throw_error(errno_code(-answer), "seqpacket::pair");
    }
    return seqpacket_pair(seqpacket(fds[0], home), seqpacket(fds[1], home));
}

seqpacket seqpacket::adopt(int fd) noexcept {
    detail::domain& home = detail::kernel_domain();
    home.handed_over(fd);
    return seqpacket(fd, home);
}

result<seqpacket> seqpacket::try_adopt(int fd) noexcept {
    const int answer = detail::check_socket(detail::kernel_domain(), fd, SOCK_SEQPACKET, false);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return adopt(fd);
}

result<seqpacket> seqpacket::try_adopt(owned_descriptor&& from) noexcept {
    if (!from.is_open()) {
        return errno_code(EBADF);
    }
    detail::domain& home = from.home();
    const int answer = detail::check_socket(home, from.native_handle(), SOCK_SEQPACKET, false);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return seqpacket(from.release(), home);
}

result<seqpacket> seqpacket::dup() const noexcept {
    const int fd = dup_number();
    if (fd < 0) {
        return errno_code(-fd);
    }
    return seqpacket(fd, *domain_);
}

send_control_operation seqpacket::sendmsg(
    std::span<const std::byte> message, const any_control_message& control, int flags
) noexcept {
    return send_control_operation(socket_, message, control, flags);
}

result<void> seqpacket::shutdown(shutdown_side side) noexcept {
    return shutdown_now(static_cast<int>(side));
}

seqpacket_listener seqpacket_listener::bind(const endpoint& at, const listen_options& options) {
    return seqpacket_listener(bind_type(at, options, SOCK_SEQPACKET, "seqpacket_listener::bind "));
}

result<seqpacket_listener>
seqpacket_listener::try_bind(const endpoint& at, const listen_options& options) noexcept {
    result<listener> made = try_bind_type(at, options, SOCK_SEQPACKET);
    if (!made) {
        return made.error();
    }
    return seqpacket_listener(*std::move(made));
}

seqpacket_listener seqpacket_listener::adopt(int fd) noexcept {
    return seqpacket_listener(listener::adopt(fd));
}

result<seqpacket_listener> seqpacket_listener::try_adopt(int fd) noexcept {
    const int answer = detail::check_socket(detail::kernel_domain(), fd, SOCK_SEQPACKET, true);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return adopt(fd);
}

result<seqpacket_listener> seqpacket_listener::try_adopt(owned_descriptor&& from) noexcept {
    result<listener> made = try_adopt_type(std::move(from), SOCK_SEQPACKET);
    if (!made) {
        return made.error();
    }
    return seqpacket_listener(*std::move(made));
}

} // namespace gyre::inline v0
