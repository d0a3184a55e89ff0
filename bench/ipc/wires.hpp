// What two processes of one machine can talk over.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench::ipc {

enum class wire { unix_stream, unix_datagram, unix_seqpacket, tcp, pipe };

struct wire_kind {
    const char* key;
    const char* name;
    bool is_socket;
    bool keeps_messages; // One receive takes one message, whole.
};

inline constexpr std::array<wire_kind, 5> wires = {{
    {.key = "unix-stream", .name = "Unix stream", .is_socket = true, .keeps_messages = false},
    {.key = "unix-datagram", .name = "Unix datagram", .is_socket = true, .keeps_messages = true},
    {.key = "unix-seqpacket", .name = "Unix seqpacket", .is_socket = true, .keeps_messages = true},
    {.key = "tcp", .name = "TCP loopback", .is_socket = true, .keeps_messages = false},
    {.key = "pipe", .name = "pipe", .is_socket = false, .keeps_messages = false},
}};

inline const wire_kind& kind_of(wire which) {
    return wires.at(static_cast<std::size_t>(which));
}

/// The least message there is.
inline constexpr std::size_t size_min = 64;

/// The largest message that a wire which keeps messages is asked to carry: more needs larger
/// buffers than a socket has by default.
inline constexpr std::size_t message_max = 65536;

/// One end: where it receives and where it sends. For a socket that is the same descriptor.
class end {
public:
    end() noexcept = default;
    end(int in, int out) noexcept : in_(in), out_(out) {}
    end(end&& other) noexcept
        : in_(std::exchange(other.in_, -1)), out_(std::exchange(other.out_, -1)) {}
    end& operator=(end&& other) noexcept {
        std::swap(in_, other.in_);
        std::swap(out_, other.out_);
        return *this;
    }
    ~end() {
        if (in_ >= 0) {
            ::close(in_);
        }
        if (out_ >= 0 && out_ != in_) {
            ::close(out_);
        }
    }

    [[nodiscard]] int in() const noexcept { return in_; }
    [[nodiscard]] int out() const noexcept { return out_; }
    /// Gives a socket away.
    int release() noexcept {
        out_ = -1;
        return std::exchange(in_, -1);
    }

private:
    int in_ = -1;
    int out_ = -1;
};

struct both_ends {
    end first;
    end second;
};

[[noreturn]] inline void fail(const char* call) {
    throw std::runtime_error(std::string(call) + ": " + std::strerror(errno));
}

inline both_ends tcp_ends() {
    const end listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), -1);
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* address = reinterpret_cast<sockaddr*>(&at);
    if (::bind(listener.in(), address, size) != 0 || ::listen(listener.in(), 1) != 0 ||
        ::getsockname(listener.in(), address, &size) != 0) {
        fail("listen");
    }
    const int first = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    end caller(first, first);
    if (first < 0 || ::connect(first, address, size) != 0) {
        fail("connect");
    }
    const int second = ::accept4(listener.in(), nullptr, nullptr, SOCK_CLOEXEC);
    end called(second, second);
    const int on = 1;
    for (const int fd : {first, second}) {
        if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
            fail("setsockopt");
        }
    }
    return {std::move(caller), std::move(called)};
}

inline both_ends pipe_ends() {
    std::array<int, 2> there = {};
    std::array<int, 2> back = {};
    if (::pipe2(there.data(), O_CLOEXEC) != 0 || ::pipe2(back.data(), O_CLOEXEC) != 0) {
        fail("pipe2");
    }
    return {end(back[0], there[1]), end(there[0], back[1])};
}

inline both_ends connected(wire which) {
    if (which == wire::tcp) {
        return tcp_ends();
    }
    if (which == wire::pipe) {
        return pipe_ends();
    }
    const int type = which == wire::unix_stream     ? SOCK_STREAM
                     : which == wire::unix_datagram ? SOCK_DGRAM
                                                    : SOCK_SEQPACKET;
    std::array<int, 2> fds = {};
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds.data()) != 0) {
        fail("socketpair");
    }
    return {end(fds[0], fds[0]), end(fds[1], fds[1])};
}

} // namespace bench::ipc
