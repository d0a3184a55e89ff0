#pragma once

#include <gyre/net/endpoint.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>

namespace gyre::inline v0 {

/// What listeners and streams have in common: an open descriptor, closed when this object goes.
///
/// Used by one thread at a time; while an operation is in flight, by the thread of its scheduler.
/// Operations in flight are canceled, and waited for, before the descriptor is closed.
class descriptor {
public:
    descriptor(descriptor&& other) noexcept;
    descriptor& operator=(descriptor&& other) noexcept;
    ~descriptor() { close_now(); }

    bool is_open() const noexcept { return socket_.fd >= 0; }
    /// The number of the descriptor, -1 once closed. It stays owned by this object.
    int native_handle() const noexcept { return socket_.fd; }

    /// The local address; getsockname(2).
    result<endpoint> local_endpoint() const noexcept;

    /// How many bytes a receive would find; ioctl(2) with FIONREAD. Of a datagram socket, the size
    /// of the next message: 0 when there is none, and also when it is empty. Of a Unix seqpacket
    /// socket, all messages together.
    ///
    /// \par Errors  `EINVAL` it is a listener.
    result<std::size_t> bytes_available() const noexcept;

    /// How much was sent and is still here; ioctl(2) with SIOCOUTQ. For TCP, bytes that the peer has
    /// not acknowledged. For a Unix socket, memory that the peer has not read yet, which is more
    /// than the bytes in it.
    ///
    /// \par Errors  `EINVAL` it is a TCP listener.
    result<std::size_t> bytes_unsent() const noexcept;

    /// Whether the open file is O_NONBLOCK; fcntl(2). It makes no difference to gyre's operations,
    /// only to who else uses the descriptor. Engines in software may have a listener O_NONBLOCK
    /// while it is open.
    result<bool> is_nonblocking() const noexcept;
    /// Sets or clears O_NONBLOCK of the open file, for everybody who shares it.
    result<void> set_nonblocking(bool on) noexcept;

    /// The error that is pending, empty for none, and clears it; SO_ERROR, socket(7). An operation
    /// that fails has taken it already.
    std::error_code socket_error() noexcept;

    /// Sets a socket option; setsockopt(2). See option.hpp.
    template <class Option>
    result<void> set_option(const Option& wish) noexcept {
        const typename Option::native_type native = wish.native();
        return set_raw_option(Option::level, Option::name, &native, sizeof native);
    }
    /// Reads a socket option; getsockopt(2).
    template <class Option>
    result<typename Option::value_type> option() const noexcept {
        typename Option::native_type native{};
        const result<void> got = raw_option(Option::level, Option::name, &native, sizeof native);
        if (!got) {
            return got.error();
        }
        return Option::from_native(native);
    }

    /// Sets an option that gyre has no type for: what setsockopt(2) takes.
    result<void> set_raw_option(int level, int name, std::span<const std::byte> value) noexcept;
    /// Reads one into `value`; getsockopt(2).
    ///
    /// \return  how many bytes of `value` were filled.
    result<std::size_t> raw_option(int level, int name, std::span<std::byte> value) const noexcept;

protected:
    descriptor() noexcept = default;
    descriptor(int fd, detail::domain& home) noexcept : domain_(&home) { socket_.fd = fd; }

    result<void>
    set_raw_option(int level, int name, const void* value, std::uint32_t size) noexcept;
    result<void> raw_option(int level, int name, void* value, std::uint32_t size) const noexcept;

    /// Takes the number out: nothing may be in flight, and gyre knows nothing of it any more.
    int release_number() noexcept;
    /// A second number for the same open file, or a negative errno.
    int dup_number() const noexcept;

    /// The peer's address; getpeername(2).
    ///
    /// \par Errors  `ENOTCONN` it is not connected.
    result<endpoint> peer_endpoint() const noexcept;

    /// shutdown(2), which what is in flight notices.
    result<void> shutdown_now(int how) noexcept;

    /// Cancels what is in flight, waits for it, closes. Returns the errno of close(2) or 0.
    int close_now() noexcept;
    detail::domain* domain_ = nullptr;
    detail::socket_state socket_;

    friend class close_description;
};

namespace detail {

/// Where new descriptors come from: the domain of the running scheduler, else the real system.
domain& current_domain() noexcept;

/// The number goes to somebody else, who may close it without a word: once nothing that is queued
/// for submission names it, everybody here forgets it.
void hand_over(domain& home, int fd) noexcept;

/// Whether `fd` is a socket of this type (SOCK_STREAM, ...) that listens, or does not: 0 or a
/// negative errno. -EPROTOTYPE: another type. -EINVAL: it listens, or does not.
int check_socket(domain& home, int fd, int type, bool listens) noexcept;

/// close(2), once nothing that is queued for submission names the descriptor.
int close_fd(domain& home, int fd) noexcept;

/// A descriptor on its way into an object that owns it.
class owned_fd {
public:
    owned_fd() noexcept = default;
    owned_fd(int fd, domain& home) noexcept : domain_(&home), fd_(fd) {}
    owned_fd(owned_fd&& other) noexcept
        : domain_(other.domain_), fd_(std::exchange(other.fd_, -1)) {}
    owned_fd& operator=(owned_fd&& other) noexcept {
        std::swap(domain_, other.domain_);
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~owned_fd() { reset(); }

    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }
    domain& home() const noexcept { return *domain_; }
    void reset() noexcept;

private:
    domain* domain_ = nullptr;
    int fd_ = -1;
};

} // namespace detail
} // namespace gyre::inline v0
