// What is epoll's own: registrations that outlive operations.

#include <gyre/ring/domain.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <utility>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

using test::bytes_of;
using test::never;
using test::submission;
namespace uapi = test::uapi;

namespace {

// Puts what `from` names under the number `number`.
test::raw_fd at_number(int number, test::raw_fd from) {
    REQUIRE(::dup3(from, number, O_CLOEXEC) == number);
    return test::raw_fd(number);
}

void expect_echo(test::raw_engine& engine, int fd, int peer) {
    std::array<std::byte, 8> buffer;
    engine.queue(test::recv_entry(fd, buffer), 1);
    REQUIRE(engine.submit() == 1);
    REQUIRE(::send(peer, "ping", 4, 0) == 4);
    const auto told = engine.next();
    REQUIRE(told.has_value());
    CHECK(told->result == 4);
}

} // namespace

TEST_SUITE_BEGIN("ring/epoll");

TEST_CASE("a number that was forgotten and is opened again is not mistaken for the old one") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    for (int round = 0; round < 3; ++round) {
        auto pair = test::tcp_sockets();
        const test::raw_fd fixed = at_number(200, std::move(pair.first));
        expect_echo(engine, fixed, pair.second); // Now it is registered, and drained.
        engine->forget(fixed);
    }
}

TEST_CASE("a close that the engine was not told of makes it doubt the number") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    for (int round = 0; round < 3; ++round) {
        auto pair = test::tcp_sockets();
        REQUIRE(::dup3(pair.first, 201, O_CLOEXEC) == 201);
        expect_echo(engine, 201, pair.second);
        // As another thread closes, which has no way to tell this engine.
        CHECK(gyre::detail::kernel_domain().close(201) == 0);
    }
}

TEST_CASE("raw reads and polls survive a number that its owner closes and opens again") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    for (int round = 0; round < 3; ++round) {
        auto pipe = test::pipe_pair();
        REQUIRE(::dup3(pipe.first, 202, O_CLOEXEC) == 202);
        pipe.first.close();
        std::array<std::byte, 8> buffer;
        engine.queue(test::file_entry(uapi::op_read, 202, buffer), 1);
        REQUIRE(engine.submit() == 1);
        REQUIRE(::write(pipe.second, "x", 1) == 1);
        CHECK(engine.one().result == 1);
        engine.queue(test::poll_entry(202, POLLIN), 2);
        REQUIRE(engine.submit() == 1);
        REQUIRE(::write(pipe.second, "y", 1) == 1);
        CHECK(engine.one().result == POLLIN);
        ::close(202);
    }
}

TEST_CASE("a socket is not mistaken for the file that a raw operation waited for at its number") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    auto pipe = test::pipe_pair();
    REQUIRE(::dup3(pipe.first, 205, O_CLOEXEC) == 205);
    std::array<std::byte, 8> buffer;
    engine.queue(test::file_entry(uapi::op_read, 205, buffer), 1);
    REQUIRE(engine.submit() == 1);
    REQUIRE(::write(pipe.second, "x", 1) == 1);
    CHECK(engine.next()->result == 1);
    ::close(205); // Its owner's right, and nothing tells the engine.

    auto pair = test::tcp_sockets();
    const test::raw_fd fixed = at_number(205, std::move(pair.first));
    expect_echo(engine, fixed, pair.second);
    expect_echo(engine, fixed, pair.second);
    engine->forget(fixed);
}

TEST_CASE("what must not wait ends with EAGAIN, also where the engine knows of no readiness") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    auto pair = test::tcp_sockets();
    expect_echo(engine, pair.first, pair.second); // Now it is registered, and drained.
    std::array<std::byte, 8> buffer;
    engine.queue(test::recv_entry(pair.first, buffer, MSG_DONTWAIT), 2);
    const auto told = engine.next(std::chrono::milliseconds(20));
    REQUIRE(told.has_value());
    CHECK(told->result == -EAGAIN);
    engine->forget(pair.first);
}

TEST_CASE("a duplicate that lives on after a close disturbs nobody, nor the next of that number") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    auto old = test::tcp_sockets();
    REQUIRE(::dup3(old.first, 203, O_CLOEXEC) == 203);
    expect_echo(engine, 203, old.second);
    engine->forget(203);
    CHECK(gyre::detail::kernel_domain().close(203) == 0);
    auto fresh = test::tcp_sockets();
    REQUIRE(::dup3(fresh.first, 203, O_CLOEXEC) == 203);
    std::array<std::byte, 8> buffer;
    engine.queue(test::recv_entry(203, buffer), 1);
    REQUIRE(engine.submit() == 1);

    REQUIRE(::send(old.second, "for the duplicate", 17, 0) == 17);
    CHECK(!engine.next(std::chrono::milliseconds(20)).has_value());
    REQUIRE(::send(fresh.second, "right", 5, 0) == 5);

    CHECK(engine.one().result == 5);
    ::close(203);
}

TEST_CASE("an event of a registration that nobody could take back completes nothing") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    auto old = test::tcp_sockets();
    REQUIRE(::dup3(old.first, 204, O_CLOEXEC) == 204);
    expect_echo(engine, 204, old.second);
    ::close(204); // By hand, and `old.first` keeps the registration.
    auto fresh = test::tcp_sockets();
    REQUIRE(::dup3(fresh.first, 204, O_CLOEXEC) == 204);
    std::array<std::byte, 8> buffer;
    submission entry = test::file_entry(uapi::op_read, 204, buffer);
    engine.queue(entry, 1);
    REQUIRE(engine.submit() == 1);
    REQUIRE(::send(old.second, "stale", 5, 0) == 5);
    CHECK(!engine.next(std::chrono::milliseconds(20)).has_value());
    REQUIRE(::send(fresh.second, "right", 5, 0) == 5);
    CHECK(engine.one().result == 5);
    ::close(204);
}

TEST_CASE("a descriptor that nothing waits for any more stops waking the engine") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    auto pair = test::socket_pair();
    expect_echo(engine, pair.first, pair.second);
    const int fd = engine->pollable_descriptor();
    int woken = 0;
    for (int count = 0; count < 100; ++count) {
        REQUIRE(::send(pair.second, "x", 1, 0) == 1);
        pollfd look = {fd, POLLIN, 0};
        woken += ::poll(&look, 1, 0);
        CHECK(engine.is_silent());
    }
    CHECK(woken > 0);
    CHECK(woken < 20);
    // And comes back when it is needed.
    std::array<std::byte, 200> buffer;
    CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 100);
    expect_echo(engine, pair.first, pair.second);
}

TEST_CASE("a chatty descriptor does not keep events of others away for ever") {
    test::raw_engine engine(gyre::engine_kind::epoll);
    auto quiet = test::socket_pair();
    std::array<std::byte, 8> buffer;
    engine.queue(test::recv_entry(quiet.first, buffer), 1);
    REQUIRE(engine.submit() == 1);
    REQUIRE(::send(quiet.second, "x", 1, 0) == 1);
    int enters = 0;
    for (bool heard = false; !heard && enters < 100; ++enters) {
        engine.queue(test::nop_entry(), 2);
        engine->enter(1, never);
        while (engine->completions.waiting() != 0) {
            heard = heard || engine->completions.at(0).user_data == 1;
            engine->completions.advance(1);
        }
    }
    CHECK(enters < 20);
}

TEST_SUITE_END();
