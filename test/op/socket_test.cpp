#include <gyre/op/socket.hpp>

#include <gyre/op/descriptor.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/uapi.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using test::bytes_of;
using test::text_of;

namespace {

template <class Body>
gyre::task<> in_scope(Body body) {
    co_await gyre::with_scope(body);
}

gyre::task<> a_few_turns() {
    for (int turn = 0; turn < 3; ++turn) {
        co_await gyre::yield();
    }
}

gyre::endpoint name_of(int fd) {
    gyre::endpoint at;
    auto size = static_cast<socklen_t>(gyre::endpoint::capacity());
    REQUIRE(::getsockname(fd, static_cast<sockaddr*>(at.data()), &size) == 0);
    at.resize(size);
    return at;
}

struct raw_listener {
    test::raw_fd fd;
    gyre::endpoint at;
};

gyre::task<raw_listener> listening() {
    const auto made = co_await gyre::op::socket(AF_INET, SOCK_STREAM);
    raw_listener here{test::raw_fd(made.value()), {}};
    const auto bound = co_await gyre::op::bind(here.fd, "127.0.0.1:0");
    REQUIRE(bound);
    const auto listens = co_await gyre::op::listen(here.fd, 16);
    REQUIRE(listens);
    here.at = name_of(here.fd);
    co_return here;
}

// Puts what `from` names under the number `number`, whatever had it: the engine is not told.
int at_number(int number, test::raw_fd from) {
    REQUIRE(::dup3(from, number, O_CLOEXEC) == number);
    return number;
}

struct counting_waiter : gyre::detail::waiter {
    counting_waiter() noexcept
        : waiter([](waiter& base) noexcept { ++static_cast<counting_waiter&>(base).told; }) {}
    int told = 0;
};

} // namespace

TEST_SUITE_BEGIN("op/socket");

TEST_CASE("a server and a client made of raw operations alone talk to each other") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = test::open_descriptors();
        auto here = co_await listening();
        const auto made = co_await gyre::op::socket(AF_INET, SOCK_STREAM);
        test::raw_fd client(made.value());
        CHECK((::fcntl(client, F_GETFD) & FD_CLOEXEC) != 0);
        gyre::endpoint peer;
        std::optional<test::raw_fd> server;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto accepted = co_await gyre::op::accept(here.fd, peer);
                server.emplace(accepted.value());
            });
            co_await a_few_turns();
            const auto connected = co_await gyre::op::connect(client, here.at);
            CHECK(connected);
        });
        CHECK(peer == name_of(client));
        CHECK((::fcntl(*server, F_GETFD) & FD_CLOEXEC) != 0);

        const auto sent = co_await gyre::op::send(client, bytes_of("hello"));
        CHECK(sent.value() == 5);
        const auto ended = co_await gyre::op::shutdown(client, gyre::shutdown_side::send);
        CHECK(ended);
        std::array<std::byte, 16> buffer;
        const auto received = co_await gyre::op::recv(*server, buffer);
        CHECK(text_of(std::span(buffer).first(received.value())) == "hello");
        const auto end = co_await gyre::op::recv(*server, buffer);
        CHECK(end.value() == 0);

        for (test::raw_fd* each : {&client, &*server, &here.fd}) {
            const auto closed = co_await gyre::op::close(std::exchange(*each, test::raw_fd()));
            CHECK(closed);
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("op::accept leaves the mode of the listener as it was") {
    test::on_every_engine([]() -> gyre::task<> {
        auto here = co_await listening();
        CHECK((::fcntl(here.fd, F_GETFL) & O_NONBLOCK) == 0);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto accepted = co_await gyre::op::accept(here.fd);
                CHECK(accepted.error() == std::errc::operation_canceled);
            });
            scope.spawn([&]() -> gyre::task<> { // So that it is not the only one to wait for.
                const auto slept = co_await gyre::sleep_for(10s);
                CHECK(!slept);
            });
            co_await a_few_turns();
            CHECK((::fcntl(here.fd, F_GETFL) & O_NONBLOCK) == 0);
            scope.cancel();
        });
        CHECK((::fcntl(here.fd, F_GETFL) & O_NONBLOCK) == 0);
    });
}

TEST_CASE("a connection that op::accept got for nobody is closed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto here = co_await listening();
        const auto before = test::open_descriptors();
        {
            gyre::detail::stop_state stop;
            counting_waiter told;
            auto description = gyre::op::accept(here.fd);
            gyre::detail::operation_awaiter<gyre::op::accept_operation> awaiter(description);
            awaiter.start({gyre::detail::run_loop::current(), &stop, nullptr}, told);
            const test::raw_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            const auto* address = static_cast<const sockaddr*>(here.at.data());
            REQUIRE(::connect(client, address, static_cast<socklen_t>(here.at.size())) == 0);
            while (told.told == 0) {
                co_await gyre::yield();
            }
        }
        CHECK(test::open_descriptors() == before);
        CHECK(gyre::scheduler::current().counters().reclaimed == 1);
    });
}

TEST_CASE("op::connect yields ECONNREFUSED where nobody listens") {
    test::on_every_engine([]() -> gyre::task<> {
        gyre::endpoint nobody;
        {
            const auto here = co_await listening();
            nobody = here.at;
        }
        const auto made = co_await gyre::op::socket(AF_INET, SOCK_STREAM);
        const test::raw_fd client(made.value());
        const auto connected = co_await gyre::op::connect(client, nobody);
        CHECK(connected.error() == std::errc::connection_refused);
        const auto bound = co_await gyre::op::bind(client, "203.0.113.1:1");
        CHECK(bound.error() == std::errc::address_not_available);
        const auto listens = co_await gyre::op::listen(-1, 1);
        CHECK(listens.error() == std::errc::bad_file_descriptor);
        const auto none = co_await gyre::op::socket(AF_INET, 77);
        CHECK(!none);
    });
}

TEST_CASE("bind, listen and socket work where the ring lacks their opcodes") {
    // As on Linux 5.11: what the report says decides.
    test::on_every_engine([]() -> gyre::task<> {
        auto& report = const_cast<gyre::engine_report&>(gyre::scheduler::current().report());
        const auto kept = report.opcodes;
        for (const auto opcode : {
                 gyre::detail::uapi::op_socket,
                 gyre::detail::uapi::op_bind,
                 gyre::detail::uapi::op_listen,
             }) {
            report.opcodes.reset(opcode);
        }
        const auto& made = gyre::scheduler::current().counters();
        const auto submissions = made.submissions;
        auto here = co_await listening();
        CHECK(gyre::scheduler::current().counters().submissions == submissions);
        CHECK(here.at.port() != 0);
        CHECK((::fcntl(here.fd, F_GETFD) & FD_CLOEXEC) != 0);
        report.opcodes = kept;
    });
}

TEST_CASE("op::recvfrom and op::sendto carry addresses and keep messages apart") {
    test::on_every_engine([]() -> gyre::task<> {
        const test::raw_fd one(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const test::raw_fd two(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const auto first = co_await gyre::op::bind(one, "127.0.0.1:0");
        const auto second = co_await gyre::op::bind(two, "127.0.0.1:0");
        REQUIRE((first && second));
        for (const char* text : {"first", "", "third, cut"}) {
            const auto sent = co_await gyre::op::sendto(one, bytes_of(text), name_of(two));
            CHECK(sent.value() == std::string_view(text).size());
        }
        std::array<std::byte, 5> buffer;
        gyre::endpoint from;
        auto received = co_await gyre::op::recvfrom(two, buffer, from);
        CHECK(received.value() == 5);
        CHECK(from == name_of(one));
        CHECK(text_of(buffer) == "first");
        received = co_await gyre::op::recvfrom(two, buffer, from);
        CHECK(received.value() == 0);
        received = co_await gyre::op::recvfrom(two, buffer, from, MSG_TRUNC);
        CHECK(received.value() == 10);
        received = co_await gyre::op::recvfrom(two, buffer, from, MSG_DONTWAIT);
        CHECK(received.error() == std::errc::resource_unavailable_try_again);
    });
}

TEST_CASE("op::recvmsg and op::sendmsg carry control data: a descriptor is passed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = test::socket_pair();
        auto pipe = test::pipe_pair();
        char byte = 'x';
        iovec piece = {&byte, 1};
        alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control = {};
        msghdr message = {};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        const int passed = pipe.second;
        std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
        const auto sent = co_await gyre::op::sendmsg(pair.first, message);
        CHECK(sent.value() == 1);

        control = {};
        const auto received = co_await gyre::op::recvmsg(pair.second, message, MSG_CMSG_CLOEXEC);
        CHECK(received.value() == 1);
        header = CMSG_FIRSTHDR(&message);
        REQUIRE(header != nullptr);
        int arrived = -1;
        std::memcpy(&arrived, CMSG_DATA(header), sizeof arrived);
        const test::raw_fd end(arrived);
        const auto written = co_await gyre::op::write(end, bytes_of("by it"));
        CHECK(written.value() == 5);
        CHECK(::read(pipe.first, &byte, 1) == 1);
        CHECK(byte == 'b');
    });
}

TEST_CASE("op::send to a peer that is gone yields an error and raises no signal") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = test::socket_pair();
        pair.second.close();
        const auto sent = co_await gyre::op::send(pair.first, bytes_of("x"));
        CHECK(sent.error() == std::errc::broken_pipe);
        const auto asked = co_await gyre::op::send(pair.first, bytes_of("x"), MSG_DONTWAIT);
        CHECK(asked.error() == std::errc::broken_pipe);
    });
}

TEST_CASE("op::shutdown ends a send that waits for room, and is not refused") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = test::socket_pair();
        const std::vector<std::byte> much(1 << 20);
        while (::send(pair.first, much.data(), much.size(), MSG_DONTWAIT) > 0) {
        }
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await gyre::op::send(pair.first, much);
                CHECK(sent.error() == std::errc::broken_pipe);
            });
            co_await a_few_turns();
            const auto ended = co_await gyre::op::shutdown(pair.first, gyre::shutdown_side::send);
            CHECK(ended);
        });
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto late = co_await gyre::op::shutdown(pair.first, gyre::shutdown_side::both);
            CHECK(late);
        });
    });
}

TEST_CASE("a number that its owner closes and opens again by hand is received from anew") {
    // Whatever a raw operation or a stream has learnt of a number must not decide about the file
    // that has it next: an engine that remembers readiness would wait for ever.
    test::on_every_engine([]() -> gyre::task<> {
        constexpr int number = 210;
        for (int round = 0; round < 6; ++round) {
            auto pair = test::tcp_sockets();
            const int fd = at_number(number, std::move(pair.first));
            std::array<std::byte, 16> buffer;
            // Once with waiting, once with data that is there: both ways of learning.
            co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto received =
                        co_await gyre::with_timeout(gyre::op::recv(fd, buffer), 20s);
                    CHECK(received.value_or(0) == 4);
                });
                co_await a_few_turns();
                REQUIRE(::send(pair.second, "wait", 4, 0) == 4);
            });
            REQUIRE(::send(pair.second, "there", 5, 0) == 5);
            const auto received = co_await gyre::with_timeout(gyre::op::recv(fd, buffer), 20s);
            CHECK(received.value_or(0) == 5);
            const auto sent =
                co_await gyre::with_timeout(gyre::op::send(fd, bytes_of("back")), 20s);
            CHECK(sent.value_or(0) == 4);
            ::close(fd); // By hand, without a word.
        }
    });
}

TEST_CASE("a stream is not mistaken for the socket that raw operations used at its number") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr int number = 211;
        for (int round = 0; round < 3; ++round) {
            std::array<std::byte, 16> buffer;
            {
                auto pair = test::tcp_sockets();
                const int fd = at_number(number, std::move(pair.first));
                co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                    scope.spawn([&]() -> gyre::task<> {
                        const auto received = co_await gyre::op::recv(fd, buffer);
                        CHECK(received.value_or(0) == 1);
                    });
                    co_await a_few_turns();
                    REQUIRE(::send(pair.second, "x", 1, 0) == 1);
                });
                ::close(fd);
            }
            auto pair = test::tcp_sockets();
            auto adopted = gyre::stream::adopt(at_number(number, std::move(pair.first)));
            for (int message = 0; message < 2; ++message) {
                co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                    scope.spawn([&]() -> gyre::task<> {
                        const auto received =
                            co_await gyre::with_timeout(adopted.recv(buffer), 20s);
                        CHECK(received.value_or(0) == 2);
                    });
                    co_await a_few_turns();
                    REQUIRE(::send(pair.second, "ab", 2, 0) == 2);
                });
            }
        }
    });
}

TEST_CASE("raw operations on the number of a stream, and the stream's own, take turns") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer;
        for (int round = 0; round < 6; ++round) {
            co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    gyre::result<std::size_t> received = std::size_t{0};
                    if (round % 2 == 0) {
                        received = co_await gyre::with_timeout(pair.server.recv(buffer), 20s);
                    } else {
                        received = co_await gyre::with_timeout(
                            gyre::op::recv(pair.server.native_handle(), buffer), 20s
                        );
                    }
                    CHECK(received.value_or(0) == 3);
                });
                co_await a_few_turns();
                const auto sent = co_await pair.client.send(bytes_of("abc"));
                CHECK(sent);
            });
        }
    });
}

TEST_CASE("a listener that its owner closes and opens again by hand accepts anew") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr int number = 212;
        for (int round = 0; round < 3; ++round) {
            auto here = co_await listening();
            const int fd = at_number(number, std::move(here.fd));
            co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto accepted = co_await gyre::with_timeout(gyre::op::accept(fd), 20s);
                    const test::raw_fd server(accepted.value_or(-1));
                    CHECK(server >= 0);
                });
                co_await a_few_turns();
                const test::raw_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                const auto* address = static_cast<const sockaddr*>(here.at.data());
                REQUIRE(::connect(client, address, static_cast<socklen_t>(here.at.size())) == 0);
            });
            ::close(fd);
        }
    });
}

TEST_CASE("op::forget before a close by hand ends what the software engines still wait for") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = test::tcp_sockets();
        const bool on_ring = gyre::scheduler::current().report().engine == gyre::engine_kind::uring;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 4> buffer;
                const auto received = co_await gyre::op::recv(pair.first, buffer);
                // The ring keeps the open file, and its receive goes on.
                CHECK((received.error() == std::errc::operation_canceled || received.value() == 1));
                CHECK(received.has_value() == on_ring);
            });
            co_await a_few_turns();
            gyre::op::forget(pair.first);
            pair.first.close();
            if (on_ring) {
                REQUIRE(::send(pair.second, "x", 1, 0) == 1);
            }
        });
    });
}

TEST_SUITE_END();
