#include <gyre/net/descriptor.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/error.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace gyre::inline v0 {

namespace detail {

// A number must not be reused while a queued submission names it.
int close_fd(domain& home, int fd) noexcept {
    if (run_loop* loop = run_loop::current()) {
        loop->flush_before_close(fd);
    }
    return home.close(fd);
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

result<endpoint> descriptor::local_endpoint() const noexcept {
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    endpoint address;
    auto size = static_cast<std::uint32_t>(endpoint::capacity());
    const int answer = domain_->getsockname(socket_.fd, address.data(), &size);
    if (answer < 0) {
        return errno_code(-answer);
    }
    address.resize(size);
    return address;
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
