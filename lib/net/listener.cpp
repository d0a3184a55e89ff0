#include <gyre/net/listener.hpp>

#include <gyre/error.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace gyre::inline v0 {

static_assert(SOCK_CLOEXEC == 02000000);

namespace {

// What a caller can do about the errno of socket, bind or listen.
const char* bind_help(int error, const endpoint& at) noexcept {
    switch (error) {
    case EACCES:
        return at.family() == address_family::unix_domain
                   ? "the directory must be writable for this user"
                   : "ports below 1024 need CAP_NET_BIND_SERVICE";
    case EADDRINUSE:
        return at.family() == address_family::unix_domain
                   ? "the name is taken; a dead server's file has to be removed first"
                   : "another socket is bound there; choose another port, or share it with "
                     "reuse_port";
    case EADDRNOTAVAIL:
        return "no interface of this machine has that address";
    case EMFILE:
        return "the process is at its descriptor limit (RLIMIT_NOFILE); raise it with ulimit -n";
    case EAFNOSUPPORT:
        return "this machine does not have that address family";
    default:
        return "";
    }
}

} // namespace

result<listener> listener::try_bind(const endpoint& at, const listen_options& options) noexcept {
    if (at.family() == address_family::unspecified) {
        return errno_code(EINVAL);
    }
    detail::domain& home = detail::current_domain();
    const int fd = home.socket(at.raw_family(), SOCK_STREAM, 0);
    if (fd < 0) {
        return errno_code(-fd);
    }
    listener made(fd, home);
    const bool is_ip = at.family() != address_family::unix_domain;

    result<void> done;
    if (options.reuse_address && is_ip) {
        done = made.set_option(gyre::reuse_address(true));
    }
    if (done && options.reuse_port && is_ip) {
        done = made.set_option(gyre::reuse_port(true));
    }
    if (done && options.v6_only.has_value() && at.family() == address_family::ipv6) {
        done = made.set_option(gyre::v6_only(*options.v6_only));
    }
    if (done && options.no_delay && is_ip) {
        done = made.set_option(gyre::no_delay(true));
    }
    if (!done) {
        return done.error();
    }
    int answer = home.bind(fd, at.data(), static_cast<std::uint32_t>(at.size()));
    if (answer == 0) {
        answer = home.listen(fd, options.backlog);
    }
    if (answer < 0) {
        return errno_code(-answer);
    }
    return made;
}

listener listener::bind(const endpoint& at, const listen_options& options) {
    result<listener> made = try_bind(at, options);
    if (!made) {
        const std::error_code error = made.error();
        throw_error(error, "listener::bind " + at.to_string(), bind_help(error.value(), at));
    }
    return *std::move(made);
}

listener listener::adopt(int fd) noexcept {
    detail::domain& home = detail::kernel_domain();
    home.handed_over(fd);
    return listener(fd, home);
}

result<listener> listener::try_adopt(int fd) noexcept {
    const int answer = detail::check_socket(detail::kernel_domain(), fd, SOCK_STREAM, true);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return adopt(fd);
}

result<listener> listener::try_adopt(owned_descriptor&& from) noexcept {
    if (!from.is_open()) {
        return errno_code(EBADF);
    }
    detail::domain& home = from.home();
    const int answer = detail::check_socket(home, from.native_handle(), SOCK_STREAM, true);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return listener(from.release(), home);
}

result<listener> listener::dup() const noexcept {
    const int fd = dup_number();
    if (fd < 0) {
        return errno_code(-fd);
    }
    return listener(fd, *domain_);
}

} // namespace gyre::inline v0
