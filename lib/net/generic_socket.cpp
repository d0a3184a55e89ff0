#include <gyre/net/generic_socket.hpp>

#include <gyre/error.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::inline v0 {

namespace {

result<void> nothing_or_error(int answer) noexcept {
    return answer < 0 ? result<void>(errno_code(-answer)) : result<void>();
}

} // namespace

result<generic_socket> generic_socket::try_open(int family, int type, int protocol) noexcept {
    detail::domain& home = detail::current_domain();
    const int fd = home.socket(family, type, protocol);
    if (fd < 0) {
        return errno_code(-fd);
    }
    return generic_socket(fd, home);
}

generic_socket generic_socket::open(int family, int type, int protocol) {
    result<generic_socket> made = try_open(family, type, protocol);
    if (!made) {
        const std::error_code error = made.error();
        const bool refused = error.value() == EPERM || error.value() == EACCES;
        throw_error(
            error,
            "generic_socket::open " + std::to_string(family) + ' ' + std::to_string(type) + ' ' +
                std::to_string(protocol),
            refused ? "raw and packet sockets need CAP_NET_RAW" : ""
        );
    }
    return *std::move(made);
}

generic_socket generic_socket::adopt(int fd) noexcept {
    detail::domain& home = detail::kernel_domain();
    home.handed_over(fd);
    return generic_socket(fd, home);
}

owned_descriptor generic_socket::into_owned() noexcept {
    detail::domain& home = *domain_;
    return owned_descriptor(release_number(), home);
}

result<void> generic_socket::bind(const endpoint& at) noexcept {
    if (!is_open()) {
        return errno_code(EBADF);
    }
    return nothing_or_error(
        domain_->bind(native_handle(), at.data(), static_cast<std::uint32_t>(at.size()))
    );
}

result<void> generic_socket::listen(int backlog) noexcept {
    return nothing_or_error(is_open() ? domain_->listen(native_handle(), backlog) : -EBADF);
}

result<void> generic_socket::shutdown(shutdown_side side) noexcept {
    return shutdown_now(static_cast<int>(side));
}

} // namespace gyre::inline v0
