#include <gyre/net/descriptor.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/error.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>

#include <sys/socket.h>

namespace gyre::inline v0 {

namespace detail {

// A number must not be reused while a queued submission names it.
int close_fd(domain& home, int fd) noexcept {
    if (run_loop* loop = run_loop::current()) {
        loop->flush_before_close(fd);
    }
    return home.close(fd);
}

void hand_over(domain& home, int fd) noexcept {
    if (run_loop* loop = run_loop::current()) {
        loop->flush_before_close(fd);
    }
    home.handed_over(fd);
}

int check_socket(domain& home, int fd, int type, bool listens) noexcept {
    int actual = 0;
    std::uint32_t size = sizeof actual;
    if (const int error = home.getsockopt(fd, SOL_SOCKET, SO_TYPE, &actual, &size); error < 0) {
        return error;
    }
    if (actual != type) {
        return -EPROTOTYPE;
    }
    size = sizeof actual;
    const int error = home.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &actual, &size);
    return error < 0 ? error : (actual != 0) == listens ? 0 : -EINVAL;
}

domain& current_domain() noexcept {
    const run_loop* loop = run_loop::current();
    return loop != nullptr ? loop->carrier().resources() : kernel_domain();
}

void owned_fd::reset() noexcept {
    if (fd_ >= 0) {
        close_fd(*domain_, std::exchange(fd_, -1));
    }
}

} // namespace detail

descriptor::descriptor(descriptor&& other) noexcept
    : domain_(other.domain_), socket_{std::exchange(other.socket_.fd, -1)} {
    GYRE_ASSERT_ALWAYS(
        other.socket_.receiving == 0 && other.socket_.sending == 0,
        "a descriptor must not be moved while an operation on it is in flight"
    );
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
    if (this != &other) {
        GYRE_ASSERT_ALWAYS(
            other.socket_.receiving == 0 && other.socket_.sending == 0,
            "a descriptor must not be moved while an operation on it is in flight"
        );
        close_now();
        domain_ = other.domain_;
        socket_.fd = std::exchange(other.socket_.fd, -1);
    }
    return *this;
}

int descriptor::close_now() noexcept {
    if (socket_.fd < 0) {
        return EBADF;
    }
    if (socket_.receiving != 0 || socket_.sending != 0) {
        detail::run_loop* loop = detail::run_loop::current();
        GYRE_ASSERT_ALWAYS(
            loop != nullptr,
            "a descriptor with operations in flight must be closed by the thread of its scheduler"
        );
        loop->settle(socket_.receiving);
        loop->settle(socket_.sending);
    }
    return -detail::close_fd(*domain_, std::exchange(socket_.fd, -1));
}

int descriptor::release_number() noexcept {
    GYRE_ASSERT_ALWAYS(
        socket_.receiving == 0 && socket_.sending == 0,
        "a descriptor must not be released while an operation on it is in flight"
    );
    if (socket_.fd >= 0) {
        detail::hand_over(*domain_, socket_.fd);
    }
    return std::exchange(socket_.fd, -1);
}

int descriptor::dup_number() const noexcept {
    return socket_.fd < 0 ? -EBADF : domain_->dup(socket_.fd);
}

namespace {

// What getsockname or getpeername answers.
result<endpoint> name_by(
    int (detail::domain::*call)(int, void*, std::uint32_t*) noexcept, detail::domain* home, int fd
) noexcept {
    if (fd < 0) {
        return errno_code(EBADF);
    }
    endpoint address;
    auto size = static_cast<std::uint32_t>(endpoint::capacity());
    const int answer = (home->*call)(fd, address.data(), &size);
    if (answer < 0) {
        return errno_code(-answer);
    }
    address.resize(size);
    return address;
}

} // namespace

result<endpoint> descriptor::local_endpoint() const noexcept {
    return name_by(&detail::domain::getsockname, domain_, socket_.fd);
}

result<endpoint> descriptor::peer_endpoint() const noexcept {
    return name_by(&detail::domain::getpeername, domain_, socket_.fd);
}

result<void> descriptor::shutdown_now(int how) noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    const int answer = domain_->shutdown(socket_.fd, how);
    if (detail::run_loop* loop = detail::run_loop::current()) {
        // A send on a Unix domain socket that is full would fail, but is not told so.
        loop->look_again(socket_.fd);
    }
    return answer < 0 ? result<void>(errno_code(-answer)) : result<void>();
}

namespace {

result<std::size_t> count_or_error(int answer) noexcept {
    if (answer < 0) {
        return errno_code(-answer);
    }
    return static_cast<std::size_t>(answer);
}

} // namespace

result<std::size_t> descriptor::bytes_available() const noexcept {
    return count_or_error(socket_.fd < 0 ? -EBADF : domain_->bytes_available(socket_.fd));
}

result<std::size_t> descriptor::bytes_unsent() const noexcept {
    return count_or_error(socket_.fd < 0 ? -EBADF : domain_->bytes_unsent(socket_.fd));
}

result<bool> descriptor::is_nonblocking() const noexcept {
    const int answer = socket_.fd < 0 ? -EBADF : domain_->is_nonblocking(socket_.fd);
    return answer < 0 ? result<bool>(errno_code(-answer)) : result<bool>(answer != 0);
}

result<void> descriptor::set_nonblocking(bool on) noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    if (detail::run_loop* loop = detail::run_loop::current()) {
        loop->keep_mode(socket_.fd);
    }
    const int answer = domain_->set_nonblocking(socket_.fd, on);
    return answer < 0 ? result<void>(errno_code(-answer)) : result<void>();
}

std::error_code descriptor::socket_error() noexcept {
    int pending = 0;
    const result<void> got = raw_option(SOL_SOCKET, SO_ERROR, &pending, sizeof pending);
    if (!got) {
        return got.error();
    }
    return pending == 0 ? std::error_code() : errno_code(pending);
}

result<void>
descriptor::set_raw_option(int level, int name, std::span<const std::byte> value) noexcept {
    return set_raw_option(level, name, value.data(), detail::clamp_length(value.size()));
}

result<std::size_t>
descriptor::raw_option(int level, int name, std::span<std::byte> value) const noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    std::uint32_t size = detail::clamp_length(value.size());
    const int answer = domain_->getsockopt(socket_.fd, level, name, value.data(), &size);
    return count_or_error(answer < 0 ? answer : static_cast<int>(size));
}

result<void>
descriptor::set_raw_option(int level, int name, const void* value, std::uint32_t size) noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    const int answer = domain_->setsockopt(socket_.fd, level, name, value, size);
    return answer < 0 ? result<void>(errno_code(-answer)) : result<void>();
}

result<void>
descriptor::raw_option(int level, int name, void* value, std::uint32_t size) const noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    const int answer = domain_->getsockopt(socket_.fd, level, name, value, &size);
    return answer < 0 ? result<void>(errno_code(-answer)) : result<void>();
}

} // namespace gyre::inline v0
