#include <gyre/net/recv_exactly.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <sys/socket.h>

namespace {

using namespace std::chrono_literals;

// Returns once what was sent to `to` has left its socket: the receive in flight has taken it.
gyre::task<> until_taken(gyre::stream& to) {
    std::array<std::byte, 1> look{};
    while (to.try_recv(look, MSG_PEEK)) {
        co_await gyre::yield();
    }
}

} // namespace

TEST_SUITE_BEGIN("net/recv_exactly");

TEST_CASE("recv_exactly fills its buffer from as many pieces as come") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::string text;
        for (int piece = 0; piece < 100; ++piece) {
            text += "piece " + std::to_string(piece) + ", ";
        }
        std::vector<std::byte> buffer(text.size());
        gyre::transfer received(0);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                received = co_await gyre::recv_exactly(pair.server, buffer);
            });
            for (std::size_t place = 0; place < text.size(); ++place) {
                const auto sent =
                    co_await pair.client.send(test::bytes_of(std::string_view(text).substr(place, 1)
                    ));
                CHECK(sent);
            }
        };
        co_await gyre::with_scope(body);

        CHECK(received);
        CHECK(received.bytes() == text.size());
        CHECK(test::text_of(buffer) == text);
    });
}

TEST_CASE("recv_exactly leaves what follows in the stream") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("headtail"));
        CHECK(sent);
        std::array<std::byte, 4> head{};
        std::array<std::byte, 4> tail{};
        const auto first = co_await gyre::recv_exactly(pair.server, head);
        const auto second = co_await gyre::recv_exactly(pair.server, tail);
        CHECK(first);
        CHECK(second);
        CHECK(test::text_of(head) == "head");
        CHECK(test::text_of(tail) == "tail");
    });
}

TEST_CASE("recv_exactly of nothing is complete at once, even at the end of the stream") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto before = gyre::scheduler::current().counters().submissions;
        const auto nothing = co_await gyre::recv_exactly(pair.server, {});
        co_await gyre::yield();
        CHECK(nothing);
        CHECK(nothing.bytes() == 0U);
        CHECK(gyre::scheduler::current().counters().submissions == before);
        CHECK(pair.client.shutdown(gyre::shutdown_side::send));
        const auto at_end = co_await gyre::recv_exactly(pair.server, {});
        CHECK(at_end);
    });
}

TEST_CASE("an end before the last byte is end_of_stream with the count") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("short"));
        CHECK(sent);
        CHECK(pair.client.shutdown(gyre::shutdown_side::send));
        std::array<std::byte, 16> buffer{};

        const auto received = co_await gyre::recv_exactly(pair.server, buffer);
        const auto again = co_await gyre::recv_exactly(pair.server, buffer);

        CHECK(!received);
        CHECK(received.error() == gyre::errc::end_of_stream);
        CHECK(test::text_of(std::span(buffer).first(received.bytes())) == "short");
        CHECK(again.error() == gyre::errc::end_of_stream);
        CHECK(again.bytes() == 0U);
    });
}

TEST_CASE("an end that comes while recv_exactly waits for more is end_of_stream as well") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer{};
        gyre::transfer received(0);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                received = co_await gyre::recv_exactly(pair.server, buffer);
            });
            const auto sent = co_await pair.client.send(test::bytes_of("part"));
            CHECK(sent);
            co_await until_taken(pair.server);
            CHECK(pair.client.shutdown(gyre::shutdown_side::send));
        };
        co_await gyre::with_scope(body);
        CHECK(received.error() == gyre::errc::end_of_stream);
        CHECK(received.bytes() == 4U);
    });
}

TEST_CASE("a reset before the last byte is ECONNRESET with the count") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer{};
        gyre::transfer received(0);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                received = co_await gyre::recv_exactly(pair.server, buffer);
            });
            const auto sent = co_await pair.client.send(test::bytes_of("part"));
            CHECK(sent);
            co_await until_taken(pair.server);
            const auto set = pair.client.set_option(gyre::linger(true, 0s));
            CHECK(set);
            gyre::stream dying(std::move(pair.client));
        };
        co_await gyre::with_scope(body);
        CHECK(received.error() == gyre::errno_code(ECONNRESET));
        CHECK(received.bytes() == 4U);
    });
}

TEST_CASE("a recv_exactly that is canceled keeps the bytes that came, and loses none that follow") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer{};
        gyre::transfer received(0);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                received = co_await gyre::recv_exactly(pair.server, buffer);
            });
            const auto sent = co_await pair.client.send(test::bytes_of("first "));
            CHECK(sent);
            co_await until_taken(pair.server);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(received.error() == gyre::errno_code(ECANCELED));
        CHECK(test::text_of(std::span(buffer).first(received.bytes())) == "first ");

        const auto sent = co_await pair.client.send(test::bytes_of("second"));
        CHECK(sent);
        std::array<std::byte, 6> rest{};
        const auto second = co_await gyre::recv_exactly(pair.server, rest);
        CHECK(second);
        CHECK(test::text_of(rest) == "second");
    });
}

TEST_CASE("a recv_exactly canceled as bytes arrive counts each byte exactly once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::string expected;
        std::string seen;
        for (int round = 0; round < 2000; ++round) {
            std::array<std::byte, 3> buffer{};
            gyre::transfer received(0);
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    received = co_await gyre::recv_exactly(pair.server, buffer);
                });
                if (round % 3 == 0) {
                    co_await gyre::yield();
                }
                const char letter = static_cast<char>('a' + round % 26);
                const auto sent =
                    co_await pair.client.send(test::bytes_of(std::string_view(&letter, 1)));
                CHECK(sent);
                expected += letter;
                if (round % 2 == 0) {
                    scope.cancel();
                } else {
                    co_await gyre::yield();
                    scope.cancel();
                }
            };
            co_await gyre::with_scope(body);
            seen += test::text_of(std::span(buffer).first(received.bytes()));
        }
        CHECK(pair.client.shutdown(gyre::shutdown_side::send));
        std::vector<std::byte> rest(expected.size());
        const auto left = co_await gyre::recv_exactly(pair.server, rest);
        seen += test::text_of(std::span(rest).first(left.bytes()));
        CHECK(seen == expected);
    });
}

TEST_CASE("recv_exactly within a limit yields timed_out and the bytes that came") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(test::bytes_of("some"));
        CHECK(sent);
        std::array<std::byte, 8> buffer{};
        const auto received =
            co_await gyre::with_timeout(gyre::recv_exactly(pair.server, buffer), 5ms);
        CHECK(received.error() == gyre::errc::timed_out);
        CHECK(test::text_of(std::span(buffer).first(received.bytes())) == "some");
    });
}

TEST_SUITE_END();
