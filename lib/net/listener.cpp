#include <gyre/net/listener.hpp>

#include "net/bind_help.hpp"

#include <gyre/error.hpp>
#include <gyre/log.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/socket_file.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace gyre::inline v0 {

static_assert(SOCK_CLOEXEC == 02000000);

namespace {

constexpr int usual_backlog = 4096;

// What of the wish the kernel will grant. It does not say so itself.
int granted_backlog(detail::domain& home, const endpoint& at, std::optional<int> wish) noexcept {
    const int limit = home.backlog_limit();
    const int wanted = wish.value_or(usual_backlog);
    if (limit < 0 || (wanted >= 0 && wanted <= limit)) {
        return wanted;
    }
    if (wish && wanted > limit) {
        std::array<char, endpoint::text_size_max> where;
        const std::string_view text = at.format_to(where);
        std::array<char, endpoint::text_size_max + 160> line;
        const int size = std::snprintf(
            line.data(),
            line.size(),
            "listener::bind %.*s: a backlog of %d was asked for, and the system allows %d; raise "
            "net.core.somaxconn",
            static_cast<int>(text.size()),
            text.data(),
            wanted,
            limit
        );
        log(log_level::warning, {line.data(), static_cast<std::size_t>(size)});
    }
    return limit;
}

} // namespace

result<listener>
listener::try_bind_type(const endpoint& at, const listen_options& options, int type) noexcept {
    if (at.family() == address_family::unspecified) {
        return errno_code(EINVAL);
    }
    detail::domain& home = detail::current_domain();
    const int fd = home.socket(at.raw_family(), type, 0);
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
    int answer = detail::bind_socket(home, fd, at, options.file, made.file_);
    if (answer == 0) {
        made.backlog_ = granted_backlog(home, at, options.backlog);
        answer = home.listen(fd, made.backlog_);
    }
    if (answer < 0) {
        return errno_code(-answer);
    }
    if (!options.file.remove_on_close) {
        made.file_.forget();
    }
    return made;
}

listener
listener::bind_type(const endpoint& at, const listen_options& options, int type, const char* what) {
    result<listener> made = try_bind_type(at, options, type);
    if (!made) {
        const std::error_code error = made.error();
        throw_error(
            error, what + at.to_string(), detail::bind_help(error.value(), at, options.file)
        );
    }
    return *std::move(made);
}

result<listener> listener::try_bind(const endpoint& at, const listen_options& options) noexcept {
    return try_bind_type(at, options, SOCK_STREAM);
}

listener listener::bind(const endpoint& at, const listen_options& options) {
    return bind_type(at, options, SOCK_STREAM, "listener::bind ");
}

result<int> listener::backlog_limit() noexcept {
    const int limit = detail::current_domain().backlog_limit();
    return limit < 0 ? result<int>(errno_code(-limit)) : result<int>(limit);
}

listener& listener::operator=(listener&& other) noexcept {
    if (this != &other) {
        file_ = std::move(other.file_); // Removes the file of this one while its socket is open.
        backlog_ = other.backlog_;
        descriptor::operator=(std::move(other));
    }
    return *this;
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

result<listener> listener::try_adopt_type(owned_descriptor&& from, int type) noexcept {
    if (!from.is_open()) {
        return errno_code(EBADF);
    }
    detail::domain& home = from.home();
    const int answer = detail::check_socket(home, from.native_handle(), type, true);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return listener(from.release(), home);
}

result<listener> listener::try_adopt(owned_descriptor&& from) noexcept {
    return try_adopt_type(std::move(from), SOCK_STREAM);
}

result<listener> listener::dup() const noexcept {
    const int fd = dup_number();
    if (fd < 0) {
        return errno_code(-fd);
    }
    return listener(fd, *domain_);
}

} // namespace gyre::inline v0
