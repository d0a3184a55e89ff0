#include "ring/socket_file.hpp"

#include <gyre/ring/domain.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

template <class Answer>
Answer or_errno(Answer answer) noexcept {
    return answer < 0 ? static_cast<Answer>(-errno) : answer;
}

// Numbers that differ by 4096 share a count: a change too many does no harm.
constinit std::array<std::atomic<std::uint32_t>, 4096> closes{};

std::atomic<std::uint32_t>& closes_counted_for(int fd) noexcept {
    return closes[static_cast<std::uint32_t>(fd) % closes.size()];
}

class kernel final : public domain {
public:
    int socket(int family, int type, int protocol) noexcept override {
        return or_errno(::socket(family, type | SOCK_CLOEXEC, protocol));
    }
    int socketpair(int family, int type, int protocol, int (&fds)[2]) noexcept override {
        return or_errno(::socketpair(family, type | SOCK_CLOEXEC, protocol, fds));
    }
    int bind(int fd, const void* address, std::uint32_t size) noexcept override {
        return or_errno(::bind(fd, static_cast<const sockaddr*>(address), size));
    }
    int bind_file(
        int fd, const void* address, std::uint32_t size, const file_wish& wish, made_file& made
    ) noexcept override {
        return detail::bind_file(fd, address, size, wish, made);
    }
    int remove_file(const made_file& which) noexcept override { return detail::remove_file(which); }
    int connect(int fd, const void* address, std::uint32_t size) noexcept override {
        return or_errno(::connect(fd, static_cast<const sockaddr*>(address), size));
    }
    int listen(int fd, int backlog) noexcept override { return or_errno(::listen(fd, backlog)); }
    int backlog_limit() noexcept override {
        const int file = ::open("/proc/sys/net/core/somaxconn", O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            return -errno;
        }
        char text[16];
        const ssize_t size = ::read(file, text, sizeof text);
        ::close(file);
        int limit = 0;
        const auto read = std::from_chars(text, text + std::max<ssize_t>(size, 0), limit);
        return read.ec == std::errc() && limit >= 0 ? limit : -EINVAL;
    }
    int shutdown(int fd, int how) noexcept override { return or_errno(::shutdown(fd, how)); }
    int close(int fd) noexcept override {
        count_close(fd);
        return or_errno(::close(fd));
    }
    int getsockname(int fd, void* address, std::uint32_t* size) noexcept override {
        return or_errno(::getsockname(fd, static_cast<sockaddr*>(address), size));
    }
    int getpeername(int fd, void* address, std::uint32_t* size) noexcept override {
        return or_errno(::getpeername(fd, static_cast<sockaddr*>(address), size));
    }
    int
    getsockopt(int fd, int level, int name, void* value, std::uint32_t* size) noexcept override {
        return or_errno(::getsockopt(fd, level, name, value, size));
    }
    int setsockopt(
        int fd, int level, int name, const void* value, std::uint32_t size
    ) noexcept override {
        return or_errno(::setsockopt(fd, level, name, value, size));
    }
    std::int64_t recv_now(int fd, void* buffer, std::size_t size, int flags) noexcept override {
        ssize_t count = -1;
        do {
            count = ::recv(fd, buffer, size, flags | MSG_DONTWAIT);
        } while (count < 0 && errno == EINTR);
        return or_errno(static_cast<std::int64_t>(count));
    }
    int dup(int fd) noexcept override { return or_errno(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
    int bytes_available(int fd) noexcept override { return count_of(fd, FIONREAD); }
    int bytes_unsent(int fd) noexcept override { return count_of(fd, SIOCOUTQ); }
    int is_nonblocking(int fd) noexcept override {
        const int flags = ::fcntl(fd, F_GETFL);
        return flags < 0 ? -errno : (flags & O_NONBLOCK) != 0 ? 1 : 0;
    }
    int set_nonblocking(int fd, bool on) noexcept override {
        int value = on ? 1 : 0;
        return or_errno(::ioctl(fd, FIONBIO, &value));
    }
    void handed_over(int fd) noexcept override {
        closes_counted_for(fd).fetch_add(1, std::memory_order_release);
    }
    int receive_messages_now(
        int fd, counted_message* messages, unsigned count, int flags
    ) noexcept override {
        auto* const headers = reinterpret_cast<mmsghdr*>(messages);
        int received = -1;
        do {
            received = ::recvmmsg(fd, headers, count, flags | MSG_DONTWAIT, nullptr);
        } while (received < 0 && errno == EINTR);
        return or_errno(received);
    }
    int send_messages_now(
        int fd, counted_message* messages, unsigned count, int flags
    ) noexcept override {
        auto* const headers = reinterpret_cast<mmsghdr*>(messages);
        int sent = -1;
        do {
            sent = ::sendmmsg(fd, headers, count, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        return or_errno(sent);
    }

private:
    static int count_of(int fd, unsigned long question) noexcept {
        int count = 0;
        return ::ioctl(fd, question, &count) == 0 ? count : -errno;
    }
};

} // namespace

std::uint32_t closes_of(int fd) noexcept {
    return closes_counted_for(fd).load(std::memory_order_acquire);
}

void count_close(int fd) noexcept {
    closes_counted_for(fd).fetch_add(1, std::memory_order_release);
}

domain& kernel_domain() noexcept {
    // Never destroyed: descriptors in static objects may be closed after main.
    static constinit kernel system;
    return system;
}

} // namespace gyre::inline v0::detail
