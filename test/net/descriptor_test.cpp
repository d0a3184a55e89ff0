#include <gyre/net/descriptor.hpp> // IWYU pragma: keep

#include "support/raw_socket.hpp"
#include "support/test.hpp"

#include <gyre/net/datagram.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/ring/engine.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

bool is_close_on_exec(int fd) {
    return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}
bool is_nonblocking(int fd) {
    return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}
bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) != -1;
}

// Returns once the submission of `count` operations has been tried and found nothing.
gyre::task<> until_waiting(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield();
    co_await gyre::yield();
}

// One receive that has to wait, and the byte that ends it.
gyre::task<> wait_for_a_byte(gyre::stream& reader, int writer) {
    std::array<std::byte, 8> buffer{};
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        scope.spawn([&]() -> gyre::task<> {
            const auto received = co_await reader.recv(buffer);
            CHECK(received.value_or(0) == 1U);
        });
        co_await until_waiting(1);
        CHECK(::write(writer, "x", 1) == 1);
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    CHECK(buffer[0] == std::byte{'x'});
}

gyre::task<gyre::stream> accept_one(gyre::listener& from) {
    test::raw_socket client;
    gyre::result<gyre::stream> made = gyre::errno_code(ENOTCONN);
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        scope.spawn([&]() -> gyre::task<> { made = co_await from.accept(); });
        co_await until_waiting(1);
        client = test::raw_socket::connect_to(from.local_endpoint().value().port());
        CHECK(client.get() >= 0);
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    REQUIRE(made);
    co_return *std::move(made);
}

// Runs `body` on a scheduler that goes on afterwards.
template <class Body>
void drive(gyre::scheduler& on, const Body& body) {
    bool done = false;
    // To spawn is to speak to the running scheduler, so a posted function does it.
    const auto posted = on.handle().post([&] {
        gyre::spawn([&]() -> gyre::task<> {
            co_await body();
            done = true;
        });
    });
    CHECK(posted);
    while (!done) { // NOLINT(bugprone-infinite-loop): a task sets it.
        on.turn();
    }
}

} // namespace

TEST_SUITE_BEGIN("net/descriptor");

TEST_CASE("bytes_available tells the unread bytes of a stream, TCP and Unix") {
    test::on_every_engine([]() -> gyre::task<> {
        auto tcp = co_await test::loopback_pair();
        auto local = gyre::stream::pair();
        for (auto [to, from] :
             {std::pair(&tcp.client, &tcp.server), std::pair(&local.first, &local.second)}) {
            CHECK(from->bytes_available().value_or(9) == 0U);
            const auto sent = co_await gyre::send_all(*to, test::bytes_of("hello"));
            CHECK(sent);
            std::array<std::byte, 2> buffer{};
            const auto received = co_await gyre::recv_exactly(*from, buffer);
            CHECK(received);
            CHECK(from->bytes_available().value_or(0) == 3U);
        }
    });
}

TEST_CASE("bytes_unsent tells what is still here, and is 0 once the peer has it all") {
    auto pair = gyre::stream::pair();
    CHECK(pair.first.bytes_unsent().value_or(9) == 0U);
    CHECK(::send(pair.first.native_handle(), "hello", 5, 0) == 5);
    // What a Unix socket counts is the memory that holds them.
    CHECK(pair.first.bytes_unsent().value_or(0) >= 5U);
    std::array<std::byte, 8> buffer{};
    CHECK(pair.second.try_recv(buffer).value_or(0) == 5U);
    CHECK(pair.first.bytes_unsent().value_or(9) == 0U);

    auto tcp = test::raw_pair::make_tcp();
    const auto sender = gyre::stream::adopt(tcp.first.release());
    const std::array<std::byte, 65536> block{};
    std::size_t taken = 0;
    for (;;) {
        const auto count = ::send(sender.native_handle(), block.data(), block.size(), MSG_DONTWAIT);
        if (count < 0) {
            break;
        }
        taken += static_cast<std::size_t>(count);
    }
    const auto unsent = sender.bytes_unsent();
    REQUIRE(unsent);
    CHECK(*unsent > 0U);
    CHECK(*unsent <= taken);
}

TEST_CASE("a listener has no bytes to receive: EINVAL") {
    auto tcp = gyre::listener::bind("127.0.0.1:0");
    CHECK(tcp.bytes_available().error() == gyre::errno_code(EINVAL));
    CHECK(tcp.bytes_unsent().error() == gyre::errno_code(EINVAL));
    auto local = gyre::listener::bind("unix:");
    CHECK(local.bytes_available().error() == gyre::errno_code(EINVAL));
}

TEST_CASE("the non-blocking flag can be read and set, and operations wait all the same") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        for (const bool on : {true, false}) {
            const auto set = pair.first.set_nonblocking(on);
            CHECK(set);
            CHECK(pair.first.is_nonblocking().value_or(!on) == on);
            CHECK(is_nonblocking(pair.first.native_handle()) == on);
            co_await wait_for_a_byte(pair.first, pair.second.native_handle());
            CHECK(pair.first.is_nonblocking().value_or(!on) == on);
        }
    });
}

TEST_CASE("a released listener has the mode that its owner chose, whatever the engine needed") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool chosen : {false, true}) {
            auto listener = gyre::listener::bind("127.0.0.1:0");
            auto before = co_await accept_one(listener);
            const auto set = listener.set_nonblocking(chosen);
            CHECK(set);
            auto after = co_await accept_one(listener);
            const test::raw_socket released(listener.release());
            CHECK(is_nonblocking(released.get()) == chosen);
        }
    });
}

TEST_CASE("a listener whose mode was never touched is released as it was adopted") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const int mode : {0, int{SOCK_NONBLOCK}}) {
            test::raw_socket made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | mode, 0));
            REQUIRE(::listen(made.get(), 4) == 0);
            auto listener = gyre::listener::adopt(made.release());
            auto accepted = co_await accept_one(listener);
            auto again = co_await accept_one(listener);
            const test::raw_socket released(listener.release());
            CHECK(is_nonblocking(released.get()) == (mode != 0));
        }
    });
}

TEST_CASE("an adopted stream waits, blocking or not") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const int mode : {0, int{SOCK_NONBLOCK}}) {
            std::array<int, 2> fds{};
            REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | mode, 0, fds.data()) == 0);
            const test::raw_socket other(fds[1]);
            auto adopted = gyre::stream::try_adopt(fds[0]);
            REQUIRE(adopted);
            co_await wait_for_a_byte(*adopted, other.get());
            CHECK(is_nonblocking(fds[0]) == (mode != 0));
        }
    });
}

TEST_CASE("try_adopt leaves alone what is something else") {
    const auto before = test::open_descriptors();
    {
        std::array<int, 2> ends{};
        REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
        const test::raw_socket pipe_out(ends[0]);
        const test::raw_socket pipe_in(ends[1]);
        const test::raw_socket messages(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const test::raw_socket listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::listen(listening.get(), 1) == 0);
        const test::raw_socket connected(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

        const auto errors_of = [](int fd, int stream_error, int listener_error) {
            CHECK(gyre::stream::try_adopt(fd).error() == gyre::errno_code(stream_error));
            CHECK(gyre::listener::try_adopt(fd).error() == gyre::errno_code(listener_error));
            gyre::owned_descriptor owned(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
            const int number = owned.native_handle();
            CHECK(
                gyre::stream::try_adopt(std::move(owned)).error() == gyre::errno_code(stream_error)
            );
            // NOLINTBEGIN(bugprone-use-after-move): it has what it had.
            CHECK(owned.native_handle() == number);
            CHECK(
                gyre::listener::try_adopt(std::move(owned)).error() ==
                gyre::errno_code(listener_error)
            );
            CHECK(owned.native_handle() == number);
            // NOLINTEND(bugprone-use-after-move)
            CHECK(is_open(number));
            CHECK(is_open(fd));
        };
        errors_of(pipe_out.get(), ENOTSOCK, ENOTSOCK);
        errors_of(messages.get(), EPROTOTYPE, EPROTOTYPE);
        CHECK(gyre::stream::try_adopt(listening.get()).error() == gyre::errno_code(EINVAL));
        CHECK(gyre::listener::try_adopt(connected.get()).error() == gyre::errno_code(EINVAL));
        CHECK(gyre::stream::try_adopt(-1).error() == gyre::errno_code(EBADF));
        CHECK(gyre::stream::try_adopt(gyre::owned_descriptor()).error() == gyre::errno_code(EBADF));
        CHECK(
            gyre::listener::try_adopt(gyre::owned_descriptor()).error() == gyre::errno_code(EBADF)
        );
    }
    CHECK(test::open_descriptors() == before);
}

TEST_CASE("an owned descriptor becomes a stream or a listener, and then owns nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = test::open_descriptors();
        {
            auto raw = test::raw_pair::make_unix();
            gyre::owned_descriptor owned(raw.first.release());
            auto peer = gyre::stream::try_adopt(std::move(owned));
            REQUIRE(peer);
            CHECK(!owned.is_open()); // NOLINT(bugprone-use-after-move)
            co_await wait_for_a_byte(*peer, raw.second.get());

            gyre::owned_descriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            REQUIRE(::listen(listening.native_handle(), 1) == 0);
            auto listener = gyre::listener::try_adopt(std::move(listening));
            REQUIRE(listener);
            auto accepted = co_await accept_one(*listener);

            const gyre::owned_descriptor dropped(::dup(raw.second.get()));
            CHECK(dropped.is_open());
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("a released number stays open and is the caller's to close") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        co_await wait_for_a_byte(pair.first, pair.second.native_handle());
        int number = -1;
        {
            auto moved = std::move(pair.first);
            number = moved.release();
            CHECK(!moved.is_open());
            CHECK(moved.release() == -1);
        }
        CHECK(is_open(number));
        CHECK(::write(number, "y", 1) == 1);
        std::array<std::byte, 4> buffer{};
        const auto received = co_await pair.second.recv(buffer);
        CHECK(received.value_or(0) == 1U);
        ::close(number);
        const auto end = co_await pair.second.recv(buffer);
        CHECK(end.value_or(9) == 0U);
    });
}

TEST_CASE("a number that was released, closed by hand and used again is a new descriptor") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        // Once each way round: what an engine remembers is that it is ready, or that it is not.
        for (const bool was_ready : {false, true}) {
            co_await wait_for_a_byte(pair.first, pair.second.native_handle());
            if (was_ready) {
                CHECK(::write(pair.second.native_handle(), "left", 4) == 4);
                co_await gyre::yield();
                co_await gyre::yield();
            }
            const int number = pair.first.release();
            // The open file lives on under another number, and with it what was armed for it.
            const test::raw_socket alias(::fcntl(number, F_DUPFD_CLOEXEC, 0));
            ::close(number);
            auto fresh = test::raw_pair::make_unix();
            if (fresh.first.get() != number) {
                REQUIRE(::dup3(fresh.first.get(), number, O_CLOEXEC) == number);
                fresh.first.close();
            } else {
                fresh.first.release();
            }
            auto adopted = gyre::stream::adopt(number);
            co_await wait_for_a_byte(adopted, fresh.second.get());
            // Nothing of the old one gets through.
            CHECK(::write(pair.second.native_handle(), "old", 3) == 3);
            std::array<std::byte, 8> buffer{};
            const auto none = co_await gyre::with_timeout(adopted.recv(buffer), 5ms);
            CHECK(none.error() == gyre::errc::timed_out);
            co_await wait_for_a_byte(adopted, fresh.second.get());
            pair = gyre::stream::pair();
        }
    });
}

TEST_CASE("a number that is released and closed outside any scheduler is forgotten all the same") {
    for (const gyre::engine_kind engine : test::engines()) {
        gyre::scheduler scheduler({.engine = engine});
        auto pair = gyre::stream::pair();
        drive(scheduler, [&]() -> gyre::task<> {
            co_await wait_for_a_byte(pair.first, pair.second.native_handle());
        });
        const int number = pair.first.release();
        ::close(number);
        // The lowest free number, so the system hands it out again.
        auto fresh = gyre::stream::pair();
        REQUIRE(fresh.first.native_handle() == number);
        drive(scheduler, [&]() -> gyre::task<> {
            co_await wait_for_a_byte(fresh.first, fresh.second.native_handle());
            co_await wait_for_a_byte(fresh.first, fresh.second.native_handle());
        });
    }
}

TEST_CASE("dup: two streams on one connection, which ends when both are closed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto copy = pair.client.dup();
        REQUIRE(copy);
        CHECK(copy->native_handle() != pair.client.native_handle());
        CHECK(is_close_on_exec(copy->native_handle()));
        const auto one = co_await gyre::send_all(pair.client, test::bytes_of("one "));
        const auto two = co_await gyre::send_all(*copy, test::bytes_of("two"));
        CHECK(one);
        CHECK(two);
        const auto closed = co_await pair.client.close();
        CHECK(closed);
        std::array<std::byte, 7> buffer{};
        const auto received = co_await gyre::recv_exactly(pair.server, buffer);
        CHECK(received);
        CHECK(test::text_of(buffer) == "one two");
        const auto none = co_await gyre::with_timeout(pair.server.recv(buffer), 5ms);
        CHECK(none.error() == gyre::errc::timed_out);
        const auto closed_too = co_await copy->close();
        CHECK(closed_too);
        const auto end = co_await pair.server.recv(buffer);
        CHECK(end.value_or(9) == 0U);
        CHECK(copy->dup().error() == gyre::errno_code(EBADF));
    });
}

TEST_CASE("dup of a listener: it listens until both are closed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        auto accepted = co_await accept_one(listener);
        auto copy = listener.dup();
        REQUIRE(copy);
        const auto closed = co_await listener.close();
        CHECK(closed);
        auto again = co_await accept_one(*copy);
        CHECK(listener.dup().error() == gyre::errno_code(EBADF));
    });
}

TEST_CASE("a datagram socket is adopted, released and duplicated like a stream") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const gyre::endpoint& at : {gyre::endpoint("127.0.0.1:0"), gyre::endpoint("unix:")}) {
            auto made = gyre::datagram::bind(at);
            const auto where = made.local_endpoint().value();
            const int fd = made.release();
            CHECK(!made.is_open());
            CHECK(gyre::stream::try_adopt(fd).error() == gyre::errno_code(EPROTOTYPE));
            auto adopted = gyre::datagram::try_adopt(fd);
            REQUIRE(adopted);
            CHECK(adopted->local_endpoint().value() == where);
            auto second = adopted->dup();
            REQUIRE(second);
            const auto closed = co_await adopted->close();
            CHECK(closed);

            auto sender = gyre::datagram::unbound(where.family());
            const auto sent = co_await sender.sendto(test::bytes_of("still"), where);
            CHECK(sent);
            std::array<std::byte, 16> buffer{};
            gyre::endpoint from;
            const auto received = co_await second->recvfrom(buffer, from);
            REQUIRE(received);
            CHECK(test::text_of(std::span(buffer).first(received->stored())) == "still");
        }
        auto stream = gyre::stream::pair();
        const int number = stream.first.native_handle();
        CHECK(gyre::datagram::try_adopt(number).error() == gyre::errno_code(EPROTOTYPE));
    });
}

TEST_CASE("socket_error yields the pending error once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        CHECK(!pair.client.socket_error());
        const auto resets = pair.server.set_option(gyre::linger(true, 0s));
        CHECK(resets);
        const auto closed = co_await pair.server.close();
        CHECK(closed);
        const auto ready = co_await gyre::op::poll(pair.client.native_handle(), POLLIN);
        CHECK(ready);
        CHECK(pair.client.socket_error() == gyre::errno_code(ECONNRESET));
        CHECK(!pair.client.socket_error());
    });
}

TEST_CASE("options without a type of their own are set and read as bytes") {
    auto pair = gyre::stream::pair();
    const int wish = 1;
    const auto set =
        pair.first.set_raw_option(SOL_SOCKET, SO_KEEPALIVE, std::as_bytes(std::span(&wish, 1)));
    CHECK(set);
    std::array<std::byte, 16> read{};
    const auto size = pair.first.raw_option(SOL_SOCKET, SO_KEEPALIVE, read);
    CHECK(size.value_or(0) == sizeof wish);
    int value = 0;
    std::memcpy(&value, read.data(), sizeof value);
    CHECK(value == 1);
    CHECK(pair.first.raw_option(SOL_SOCKET, 9999, read).error() == gyre::errno_code(ENOPROTOOPT));
    CHECK(
        pair.first.set_raw_option(SOL_SOCKET, SO_KEEPALIVE, {}).error() == gyre::errno_code(EINVAL)
    );
}

TEST_CASE("a closed descriptor answers EBADF") {
    auto pair = gyre::stream::pair();
    ::close(pair.first.release());
    std::array<std::byte, 4> value{};
    const auto bad = gyre::errno_code(EBADF);
    CHECK(pair.first.bytes_available().error() == bad);
    CHECK(pair.first.bytes_unsent().error() == bad);
    CHECK(pair.first.is_nonblocking().error() == bad);
    CHECK(pair.first.set_nonblocking(true).error() == bad);
    CHECK(pair.first.socket_error() == bad);
    CHECK(pair.first.raw_option(SOL_SOCKET, SO_TYPE, value).error() == bad);
    CHECK(pair.first.set_raw_option(SOL_SOCKET, SO_KEEPALIVE, value).error() == bad);
    CHECK(pair.first.dup().error() == bad);
}

TEST_SUITE_END();
