// What is asked of every operation, asked of the other raw ones that may have to wait.

#include <gyre/op.hpp>

#include <gyre/net/endpoint.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/engine.hpp>

#include "op/lifecycle.hpp"
#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

using test::bytes_of;

const sockaddr* raw(const gyre::endpoint& at) {
    return static_cast<const sockaddr*>(at.data());
}

gyre::endpoint name_of(int fd) {
    gyre::endpoint at;
    auto size = static_cast<socklen_t>(gyre::endpoint::capacity());
    REQUIRE(::getsockname(fd, static_cast<sockaddr*>(at.data()), &size) == 0);
    at.resize(size);
    return at;
}

test::raw_fd bound(int type, const gyre::endpoint& at) {
    test::raw_fd made(::socket(at.raw_family(), type | SOCK_CLOEXEC, 0));
    REQUIRE(made >= 0);
    REQUIRE(::bind(made, raw(at), static_cast<socklen_t>(at.size())) == 0);
    return made;
}

// All that is there to receive or to read.
std::string drained(int fd) {
    std::string all;
    std::array<char, 65536> piece;
    for (;;) {
        pollfd ready = {fd, POLLIN, 0};
        if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLIN) == 0) {
            return all;
        }
        const ssize_t count = ::read(fd, piece.data(), piece.size());
        if (count <= 0) {
            return all;
        }
        all.append(piece.data(), static_cast<std::size_t>(count));
    }
}

// Sends until there is no room any more.
void fill(int fd, std::size_t size) {
    const std::vector<char> piece(size);
    while (::send(fd, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    REQUIRE(errno == EAGAIN);
}

/// A receive on one end of a connection.
struct receiving {
    void put(std::string_view text) {
        REQUIRE(::write(pair.second, text.data(), text.size()) == ssize_t(text.size()));
    }
    std::string_view got() const { return test::text_of(buffer); }
    void make_ready() { put("four"); }
    // Unread, what it was sent becomes a reset.
    void peer_resets() {
        REQUIRE(::write(pair.first, "unread", 6) == 6);
        pair.second.close();
    }
    test::raw_pair pair = test::socket_pair();
    std::array<std::byte, 8> buffer{};
};

struct raw_recv : receiving {
    auto begin() { return gyre::op::recv(pair.first, buffer); }
};

struct raw_recvmsg : receiving {
    auto begin() {
        piece = {buffer.data(), buffer.size()};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        return gyre::op::recvmsg(pair.first, message);
    }
    iovec piece = {};
    msghdr message = {};
};

struct raw_recvfrom {
    raw_recvfrom() { REQUIRE(::connect(second, raw(at), static_cast<socklen_t>(at.size())) == 0); }
    auto begin() { return gyre::op::recvfrom(first, buffer, from); }
    void put(std::string_view text) {
        REQUIRE(::send(second, text.data(), text.size(), 0) == ssize_t(text.size()));
    }
    std::string_view got() const { return test::text_of(buffer); }
    void make_ready() { put("four"); }
    bool right(std::size_t moved) const { return moved == 4 && from == name_of(second); }
    test::raw_fd first = bound(SOCK_DGRAM, "127.0.0.1:0");
    test::raw_fd second = bound(SOCK_DGRAM, "127.0.0.1:0");
    gyre::endpoint at = name_of(first);
    gyre::endpoint from;
    std::array<std::byte, 8> buffer{};
};

struct raw_readv {
    auto begin() { return gyre::op::readv(pipe.first, pieces); }
    void put(std::string_view text) {
        REQUIRE(::write(pipe.second, text.data(), text.size()) == ssize_t(text.size()));
    }
    std::string_view got() const { return test::text_of(buffer); }
    void make_ready() { put("four"); }
    test::raw_pair pipe = test::pipe_pair();
    std::array<std::byte, 8> buffer{};
    std::array<gyre::mutable_buffer, 2> pieces = {
        gyre::mutable_buffer(std::span(buffer).first(3)),
        gyre::mutable_buffer(std::span(buffer).subspan(3))
    };
};

/// A send on one end of a connection that takes no more.
struct sending {
    sending() {
        const int size = 8192;
        REQUIRE(::setsockopt(pair.first, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
        fill(pair.first, 1024);
    }
    void make_ready() { drained(pair.second); }
    std::string taken() const { return drained(pair.second); }
    void peer_resets() { pair.second.close(); }
    test::raw_pair pair = test::socket_pair();
    std::vector<std::byte> much = std::vector<std::byte>(1 << 20);
};

struct raw_send : sending {
    auto begin() { return gyre::op::send(pair.first, bytes_of("four")); }
    auto begin_much() { return gyre::op::send(pair.first, much); }
};

struct raw_sendmsg : sending {
    auto begin_with(std::span<const std::byte> bytes) {
        piece = {const_cast<std::byte*>(bytes.data()), bytes.size()};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        return gyre::op::sendmsg(pair.first, message);
    }
    auto begin() { return begin_with(bytes_of("four")); }
    auto begin_much() { return begin_with(much); }
    iovec piece = {};
    msghdr message = {};
};

/// A message to a Unix receiver whose queue is full.
struct raw_sendto {
    static constexpr bool one_by_one = true; // By the clock, in software.
    raw_sendto() {
        // Connected as well: its room is then that of the receiver.
        REQUIRE(::connect(first, raw(at), static_cast<socklen_t>(at.size())) == 0);
        fill(first, 4);
    }
    auto begin() { return gyre::op::sendto(first, bytes_of("four"), at); }
    // One that had to wait is sent empty by some kernels' rings, as the operation's description says.
    static bool right(std::size_t moved) {
        const gyre::engine_kind by = gyre::scheduler::current().report().engine;
        return moved == 4 || (by == gyre::engine_kind::uring && moved == 0);
    }
    void make_ready() { drained(second); }
    std::string taken() const { return drained(second); }
    test::raw_fd first = test::raw_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    test::raw_fd second = bound(SOCK_DGRAM, "unix:");
    gyre::endpoint at = name_of(second);
};

struct raw_writev {
    raw_writev() {
        REQUIRE(::fcntl(pipe.second, F_SETPIPE_SZ, 4096) == 4096);
        const std::vector<char> all(4096);
        REQUIRE(::write(pipe.second, all.data(), all.size()) == 4096);
    }
    auto begin() { return gyre::op::writev(pipe.second, pieces); }
    auto begin_much() { return gyre::op::writev(pipe.second, much_pieces); }
    void make_ready() { drained(pipe.first); }
    std::string taken() const { return drained(pipe.first); }
    test::raw_pair pipe = test::pipe_pair();
    std::array<gyre::const_buffer, 2> pieces = {
        gyre::const_buffer(bytes_of("fo")), gyre::const_buffer(bytes_of("ur"))
    };
    std::vector<std::byte> much = std::vector<std::byte>(1 << 20);
    std::array<gyre::const_buffer, 1> much_pieces = {gyre::const_buffer(much)};
};

struct raw_poll {
    auto begin() { return gyre::op::poll(pipe.first, POLLIN); }
    void make_ready() { REQUIRE(::write(pipe.second, "four", 4) == 4); }
    static bool right(int events) { return events == POLLIN; }
    test::raw_pair pipe = test::pipe_pair();
};

struct raw_tee {
    static constexpr bool one_by_one = true; // A thread of the kernel for each.
    auto begin() { return gyre::op::tee(pipe.first, other.second, 8); }
    void put(std::string_view text) {
        REQUIRE(::write(pipe.second, text.data(), text.size()) == ssize_t(text.size()));
    }
    std::string got() const { return drained(other.first); }
    void make_ready() { put("four"); }
    test::raw_pair pipe = test::pipe_pair();
    test::raw_pair other = test::pipe_pair();
};

struct raw_accept {
    raw_accept() { REQUIRE(::listen(listening, 8) == 0); }
    auto begin() { return gyre::op::accept(listening, peer); }
    void make_ready() {
        test::raw_fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const gyre::endpoint at = name_of(listening);
        REQUIRE(::connect(client, raw(at), static_cast<socklen_t>(at.size())) == 0);
        clients.push_back(std::move(client));
    }
    bool right(int fd) const {
        const test::raw_fd accepted(fd);
        return accepted >= 0 && ::fcntl(accepted, F_GETFD) == FD_CLOEXEC &&
               name_of(accepted) == name_of(listening);
    }
    test::raw_fd listening = bound(SOCK_STREAM, "unix:");
    gyre::endpoint peer;
    std::vector<test::raw_fd> clients;
};

template <class Subject>
gyre::task<> receives_a_reset() {
    Subject which;
    which.peer_resets();
    const auto moved = co_await which.begin();
    CHECK(moved.error() == std::errc::connection_reset);
    const auto end = co_await which.begin();
    REQUIRE(end);
    CHECK(*end == 0);
}

// One that waits, and one that begins later.
template <class Subject>
gyre::task<> sends_to_nobody() {
    Subject which;
    co_await test::in_scope([&](gyre::scope& scope) -> gyre::task<> {
        scope.spawn([&]() -> gyre::task<> {
            const auto moved = co_await which.begin();
            CHECK(
                (moved.error() == std::errc::broken_pipe ||
                 moved.error() == std::errc::connection_reset)
            );
        });
        co_await test::settled();
        which.peer_resets();
    });
    const auto moved = co_await which.begin();
    CHECK(moved.error() == std::errc::broken_pipe);
}

} // namespace

TEST_SUITE_BEGIN("op/lifecycle");

GYRE_TEST_LIFECYCLE("op::accept", raw_accept)
TEST_CASE("op::accept, full: an open descriptor, close-on-exec, and the peer's endpoint") {
    test::on_every_engine([]() -> gyre::task<> {
        raw_accept which;
        test::raw_fd client = bound(SOCK_STREAM, "unix:");
        const gyre::endpoint at = name_of(which.listening);
        REQUIRE(::connect(client, raw(at), static_cast<socklen_t>(at.size())) == 0);
        const auto accepted = co_await which.begin();
        REQUIRE(accepted);
        CHECK(which.right(*accepted));
        CHECK(which.peer == name_of(client));
    });
}
TEST_CASE("op::accept, peer error: a client that has gone is accepted, and its end is read") {
    test::on_every_engine([]() -> gyre::task<> {
        raw_accept which;
        which.make_ready();
        which.clients.clear();
        const auto accepted = co_await which.begin();
        REQUIRE(accepted);
        const test::raw_fd connection(*accepted);
        std::array<std::byte, 4> buffer;
        const auto end = co_await gyre::op::recv(connection, buffer);
        CHECK(end.value() == 0);
    });
}

GYRE_TEST_LIFECYCLE("op::recv", raw_recv)
GYRE_TEST_RECEIVING("op::recv", raw_recv)
TEST_CASE("op::recv, peer error: a reset is ECONNRESET once, then the end") {
    test::on_every_engine(receives_a_reset<raw_recv>);
}

GYRE_TEST_LIFECYCLE("op::recvmsg", raw_recvmsg)
GYRE_TEST_RECEIVING("op::recvmsg", raw_recvmsg)
TEST_CASE("op::recvmsg, peer error: a reset is ECONNRESET once, then the end") {
    test::on_every_engine(receives_a_reset<raw_recvmsg>);
}

GYRE_TEST_LIFECYCLE("op::recvfrom", raw_recvfrom)
GYRE_TEST_RECEIVING("op::recvfrom", raw_recvfrom)
TEST_CASE("op::recvfrom, peer error: ECONNREFUSED is told once, and the socket goes on") {
    test::on_every_engine([]() -> gyre::task<> {
        raw_recvfrom which;
        const gyre::endpoint to = name_of(which.second);
        REQUIRE(::connect(which.first, raw(to), static_cast<socklen_t>(to.size())) == 0);
        which.second.close();
        REQUIRE(::send(which.first, "lost", 4, 0) == 4);
        const auto refused = co_await which.begin();
        CHECK(refused.error() == std::errc::connection_refused);
        which.second = bound(SOCK_DGRAM, to);
        REQUIRE(
            ::connect(which.second, raw(which.at), static_cast<socklen_t>(which.at.size())) == 0
        );
        which.put("four");
        const auto moved = co_await which.begin();
        CHECK(moved.value() == 4);
    });
}

GYRE_TEST_LIFECYCLE("op::send", raw_send)
GYRE_TEST_SENDING("op::send", raw_send)
TEST_CASE("op::send, peer error: EPIPE where the peer has gone, and no SIGPIPE") {
    test::on_every_engine(sends_to_nobody<raw_send>);
}

GYRE_TEST_LIFECYCLE("op::sendmsg", raw_sendmsg)
GYRE_TEST_SENDING("op::sendmsg", raw_sendmsg)
TEST_CASE("op::sendmsg, peer error: EPIPE where the peer has gone, and no SIGPIPE") {
    test::on_every_engine(sends_to_nobody<raw_sendmsg>);
}

GYRE_TEST_LIFECYCLE("op::sendto", raw_sendto)
TEST_CASE("op::sendto, full: a message is sent whole") {
    test::on_every_engine(test::sends_what_fits<raw_sendto>);
}
TEST_CASE("op::sendto, short: a message that is too large is EMSGSIZE, and nothing of it is sent") {
    test::on_every_engine([]() -> gyre::task<> {
        raw_sendto which;
        which.make_ready();
        const std::vector<std::byte> much(8 << 20);
        const auto sent = co_await gyre::op::sendto(which.first, much, which.at);
        CHECK(sent.error() == std::errc::message_size);
        CHECK(which.taken().empty());
    });
}
TEST_CASE("op::sendto, peer error: ECONNREFUSED where the receiver has gone") {
    test::on_every_engine([]() -> gyre::task<> {
        raw_sendto which;
        which.second.close();
        const auto sent = co_await which.begin();
        CHECK(sent.error() == std::errc::connection_refused);
    });
}

GYRE_TEST_LIFECYCLE("op::readv", raw_readv)
GYRE_TEST_RECEIVING("op::readv", raw_readv)
TEST_CASE("op::readv, peer error: a pipe without a writer has ended") {
    test::on_every_engine([]() -> gyre::task<> {
        raw_readv which;
        which.pipe.second.close();
        const auto moved = co_await which.begin();
        CHECK(moved.value() == 0);
    });
}

GYRE_TEST_LIFECYCLE("op::writev", raw_writev)
GYRE_TEST_SENDING("op::writev", raw_writev)
TEST_CASE("op::writev, peer error: a pipe without a reader yields EPIPE, also to one that waits") {
    test::on_every_engine([]() -> gyre::task<> {
        const test::no_sigpipe ignored;
        raw_writev which;
        co_await test::in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto moved = co_await which.begin();
                CHECK(moved.error() == std::errc::broken_pipe);
            });
            co_await test::settled();
            which.pipe.first.close();
        });
    });
}

GYRE_TEST_LIFECYCLE("op::poll", raw_poll)
TEST_CASE("op::poll, full: all that it is ready for at once") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto pair = test::socket_pair();
        REQUIRE(::send(pair.second, "four", 4, 0) == 4);
        const auto ready = co_await gyre::op::poll(pair.first, POLLIN | POLLOUT);
        CHECK(ready.value() == (POLLIN | POLLOUT));
    });
}
TEST_CASE("op::poll, peer error: POLLHUP where the peer has gone, asked for or not") {
    test::on_every_engine([]() -> gyre::task<> {
        raw_poll which;
        which.pipe.second.close();
        const auto ready = co_await which.begin();
        CHECK((ready.value() & POLLHUP) != 0);
    });
}

GYRE_TEST_LIFECYCLE("op::tee", raw_tee)
GYRE_TEST_RECEIVING("op::tee", raw_tee)
TEST_CASE("op::tee, peer error: EPIPE where nobody reads, 0 where nobody writes") {
    test::on_every_engine([]() -> gyre::task<> {
        const test::no_sigpipe ignored;
        raw_tee which;
        which.make_ready();
        which.other.first.close();
        const auto moved = co_await which.begin();
        CHECK(moved.error() == std::errc::broken_pipe);
        raw_tee ended;
        ended.pipe.second.close();
        const auto end = co_await ended.begin();
        CHECK(end.value() == 0);
    });
}

TEST_SUITE_END();
