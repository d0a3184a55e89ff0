#pragma once

// An engine without a run loop: a test writes submissions and looks at completions.

#include "support/test.hpp"

#include <gyre/ring/engine.hpp>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace test {

namespace uapi = gyre::detail::uapi;
using gyre::detail::never;
using gyre::detail::submission;

/// A descriptor of its own, closed by the system alone: the engine is not told.
class raw_fd {
public:
    explicit raw_fd(int fd = -1) noexcept : fd_(fd) {}
    raw_fd(raw_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    raw_fd& operator=(raw_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~raw_fd() { close(); }
    operator int() const noexcept { return fd_; }
    void close() noexcept {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }

private:
    int fd_;
};

struct raw_pair {
    raw_fd first;
    raw_fd second;
};
inline raw_pair socket_pair(int type = SOCK_STREAM) {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0);
    return {raw_fd(fds[0]), raw_fd(fds[1])};
}
/// The first is the end to read from.
inline raw_pair pipe_pair() {
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    return {raw_fd(fds[0]), raw_fd(fds[1])};
}
/// Both ends of a TCP connection over loopback.
inline raw_pair tcp_sockets() {
    raw_fd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    gyre::endpoint at("127.0.0.1:0");
    REQUIRE(::bind(listening, static_cast<const sockaddr*>(at.data()), socklen_t(at.size())) == 0);
    REQUIRE(::listen(listening, 8) == 0);
    auto size = static_cast<socklen_t>(gyre::endpoint::capacity());
    REQUIRE(::getsockname(listening, static_cast<sockaddr*>(at.data()), &size) == 0);
    raw_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client, static_cast<const sockaddr*>(at.data()), socklen_t(at.size())) == 0);
    return {std::move(client), raw_fd(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC))};
}

// Entries of the submission queue.

inline submission recv_entry(int fd, std::span<std::byte> buffer, int flags = 0) {
    submission entry = {};
    entry.opcode = uapi::op_recv;
    entry.fd = fd;
    entry.address = reinterpret_cast<std::uintptr_t>(buffer.data());
    entry.length = static_cast<std::uint32_t>(buffer.size());
    entry.operation_flags = static_cast<std::uint32_t>(flags);
    return entry;
}
inline submission send_entry(int fd, std::span<const std::byte> buffer, int flags = 0) {
    submission entry = {};
    entry.opcode = uapi::op_send;
    entry.fd = fd;
    entry.address = reinterpret_cast<std::uintptr_t>(buffer.data());
    entry.length = static_cast<std::uint32_t>(buffer.size());
    entry.operation_flags = static_cast<std::uint32_t>(flags);
    return entry;
}
inline submission file_entry(std::uint8_t opcode, int fd, std::span<const std::byte> buffer) {
    submission entry = send_entry(fd, buffer);
    entry.opcode = opcode;
    entry.offset = ~std::uint64_t{0};
    return entry;
}
inline submission poll_entry(int fd, int events) {
    submission entry = {};
    entry.opcode = uapi::op_poll_add;
    entry.fd = fd;
    entry.operation_flags = static_cast<std::uint32_t>(events);
    return entry;
}
inline submission cancel_entry(std::uint64_t target, std::uint32_t flags = 0, int fd = -1) {
    submission entry = {};
    entry.opcode = uapi::op_async_cancel;
    entry.fd = fd;
    entry.address = target;
    entry.operation_flags = flags;
    return entry;
}
inline submission nop_entry() {
    submission entry = {};
    entry.fd = -1;
    return entry;
}

class raw_engine {
public:
    explicit raw_engine(
        gyre::engine_kind kind, unsigned submission_entries = 16, unsigned completion_entries = 64
    ) {
        gyre::detail::engine_options options;
        options.kind = kind;
        options.submission_entries = submission_entries;
        options.completion_entries = completion_entries;
        engine_ = gyre::detail::make_engine(options);
    }
    gyre::detail::engine* operator->() noexcept { return engine_.get(); }

    /// Queues an entry.
    void queue(submission entry, std::uint64_t user_data) {
        entry.user_data = user_data;
        submission* place = engine_->submissions.acquire();
        REQUIRE(place != nullptr);
        *place = entry;
    }
    /// Hands over what is queued, without waiting.
    int submit() { return engine_->enter(0, never); }

    struct told {
        std::uint64_t user_data;
        int result;
    };
    /// The next completion that there is within the limit.
    std::optional<told> next(std::chrono::milliseconds limit = std::chrono::seconds(5)) {
        const auto deadline = engine_->now() + std::chrono::nanoseconds(limit).count();
        while (engine_->completions.waiting() == 0) {
            if (engine_->enter(1, deadline) == -ETIME || engine_->now() > deadline) {
                return std::nullopt;
            }
        }
        const gyre::detail::completion first = engine_->completions.at(0);
        engine_->completions.advance(1);
        return told{first.user_data, first.result};
    }
    /// The same for one that has to come.
    told one() {
        const auto answer = next();
        REQUIRE(answer.has_value());
        return *answer;
    }
    /// The result of one entry on its own.
    int result_of(const submission& entry) {
        queue(entry, 4711);
        const told answer = one();
        REQUIRE(answer.user_data == 4711);
        return answer.result;
    }
    /// True if nothing completes by itself.
    bool is_silent() {
        return engine_->enter(0, never) >= 0 && engine_->completions.waiting() == 0;
    }

private:
    std::unique_ptr<gyre::detail::engine> engine_;
};

/// Runs `body(engine)` on each engine in software.
template <class Body>
void on_software_engines(Body&& body, unsigned submissions = 16, unsigned completions = 64) {
    for (const gyre::engine_kind kind : {gyre::engine_kind::epoll, gyre::engine_kind::blocking}) {
        INFO("engine: ", std::string(gyre::engine_name(kind)));
        raw_engine engine(kind, submissions, completions);
        body(engine);
    }
}

} // namespace test
