#pragma once

// Connections as the system has them: for peers that are threads, and for peers with bad manners.

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace test {

/// The byte that stands at `position` of every stream: one that is lost, doubled or moved shows.
inline std::byte byte_at(std::uint64_t position) noexcept {
    return static_cast<std::byte>(dice(position >> 3).next() >> ((position & 7) * 8));
}

/// A descriptor that blocks.
class raw_socket {
public:
    explicit raw_socket(int fd = -1) noexcept : fd_(fd) {}
    raw_socket(raw_socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    raw_socket& operator=(raw_socket&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~raw_socket() { close(); }

    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }
    void close() noexcept {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }
    /// Closes with a reset.
    void reset() noexcept {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close();
    }
    /// Waits no longer than that for the peer.
    void limit(int milliseconds) noexcept {
        const timeval time{
            .tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * suseconds_t{1000}
        };
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    }

    /// A TCP connection to `port` on loopback; not open if it was refused.
    static raw_socket connect_to(std::uint16_t port) noexcept {
        raw_socket made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(made.fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
            made.close();
        }
        return made;
    }

private:
    int fd_;
};

struct raw_pair {
    raw_socket first;
    raw_socket second;

    static raw_pair make_unix() {
        int both[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both) == 0);
        return {raw_socket(both[0]), raw_socket(both[1])};
    }
    static raw_pair make_tcp() {
        raw_socket listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        auto* address = reinterpret_cast<sockaddr*>(&at);
        REQUIRE(::bind(listening.get(), address, size) == 0);
        REQUIRE(::listen(listening.get(), 1) == 0);
        REQUIRE(::getsockname(listening.get(), address, &size) == 0);
        raw_pair made;
        made.first = raw_socket::connect_to(ntohs(at.sin_port));
        made.second = raw_socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(made.first.get() >= 0);
        REQUIRE(made.second.get() >= 0);
        return made;
    }
};

} // namespace test
