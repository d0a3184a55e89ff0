// What the servers written by hand share: their command line, the socket they listen on, the signal
// that ends them, and the size of their buffers.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>

namespace baseline {

/// As in samples/echo_session.hpp: every server that is compared takes and sends so much at once.
inline constexpr std::size_t buffer_size = 4096;

struct settings {
    std::string host;
    unsigned short port = 0;
    bool report = false;
};

[[noreturn]] inline void fail(const char* what, int error) {
    std::fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, std::strerror(error));
    std::exit(1);
}

[[noreturn]] inline void fail_usage() {
    std::fprintf(
        stderr,
        "usage: %s --listen ADDRESS:PORT [--report] | --version\n",
        program_invocation_short_name
    );
    std::exit(2);
}

/// `built_on` is the answer to `--version`: the library below the server, and which it is.
inline settings parse(int count, char** arguments, const char* built_on) {
    settings chosen;
    for (int index = 1; index < count; ++index) {
        std::string_view option = arguments[index];
        if (option == "--version") {
            std::puts(built_on);
            std::exit(0);
        } else if (option == "--report") {
            chosen.report = true;
        } else if (option == "--listen" && index + 1 < count) {
            std::string_view where = arguments[++index];
            std::size_t colon = where.rfind(':');
            if (colon == std::string_view::npos) {
                fail_usage();
            }
            const char* end = where.data() + where.size();
            auto parsed = std::from_chars(where.data() + colon + 1, end, chosen.port);
            if (parsed.ec != std::errc() || parsed.ptr != end) {
                fail_usage();
            }
            chosen.host = where.substr(0, colon);
        } else {
            fail_usage();
        }
    }
    if (chosen.host.empty()) {
        fail_usage();
    }
    return chosen;
}

/// A listening socket that says on stdout where it listens; `flags` are those of socket(2).
inline int listen_on(const settings& chosen, int flags = 0) {
    int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) {
        fail("socket", errno);
    }
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(chosen.port);
    if (::inet_pton(AF_INET, chosen.host.c_str(), &address.sin_addr) != 1) {
        fail(chosen.host.c_str(), EINVAL);
    }
    int on = 1;
    // Accepted sockets inherit both.
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd, SOMAXCONN) != 0) {
        fail("listen", errno);
    }
    socklen_t size = sizeof address;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    std::printf(
        "listening on %s:%u\n", chosen.host.c_str(), static_cast<unsigned>(ntohs(address.sin_port))
    );
    std::fflush(stdout);
    return fd;
}

/// Becomes readable when the server is to end. Threads inherit that the signals are blocked.
inline int signals_to_end() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    int fd = ::signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0) {
        fail("signalfd", errno);
    }
    return fd;
}

} // namespace baseline
