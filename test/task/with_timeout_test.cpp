#include <gyre/task/with_timeout.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <system_error>
#include <type_traits>

TEST_SUITE_BEGIN("task/with_timeout");

namespace {

using namespace std::chrono_literals;

gyre::task<gyre::result<void>> nap() {
    const auto slept = co_await gyre::sleep_for(1h);
    co_return slept;
}

} // namespace

TEST_CASE("timed_out is std::errc::timed_out and not the ETIMEDOUT of TCP") {
    const std::error_code own = gyre::errc::timed_out;
    CHECK(own == std::errc::timed_out);
    CHECK(own != gyre::errno_code(ETIMEDOUT));
    CHECK(gyre::errno_code(ETIMEDOUT) == std::errc::timed_out);
    CHECK(gyre::errno_code(ETIMEDOUT) != gyre::make_error_code(gyre::errc::timed_out));
}

TEST_CASE("a wait that outlasts its limit ends with timed_out, and not before") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = gyre::clock::now();
        const auto slept = co_await gyre::with_timeout(gyre::sleep_for(1h), 2ms);
        const auto after = gyre::clock::now();
        CHECK(slept.error() == gyre::errc::timed_out);
        CHECK(after - before >= 2ms);
    });
}

TEST_CASE("a recv that outlasts its limit ends with timed_out, and the stream goes on") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 8> buffer;
        const auto late = co_await gyre::with_timeout(pair.server.recv(buffer), 1ms);
        CHECK(late.error() == gyre::errc::timed_out);

        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("now"));
        CHECK(sent);
        const auto received = co_await gyre::with_timeout(pair.server.recv(buffer), 1h);
        REQUIRE(received.has_value());
        CHECK(*received == 3);
    });
}

TEST_CASE("an outcome that comes in time is kept, and the limit is forgotten") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto slept = co_await gyre::with_timeout(gyre::sleep_for(1ms), 1h);
        CHECK(slept);
        for (int i = 0; i < 3; ++i) {
            const auto quick = co_await gyre::with_timeout(gyre::sleep_for(0ms), 50ms);
            CHECK(quick);
        }
        const auto later = co_await gyre::sleep_for(60ms);
        CHECK(later);
    });
}

TEST_CASE("data that is here already beats a limit of zero, and a negative one") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("ab"));
        REQUIRE(sent);
        std::array<std::byte, 1> buffer;
        const auto first = co_await gyre::with_timeout(pair.server.recv(buffer), 0ms);
        CHECK(first);
        const auto second = co_await gyre::with_timeout(pair.server.recv(buffer), -5ms);
        CHECK(second);
        const auto third = co_await gyre::with_timeout(pair.server.recv(buffer), 0ms);
        CHECK(third.error() == gyre::errc::timed_out);
    });
}

TEST_CASE("the longest of every unit is a limit that does not pass") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto nanoseconds =
            co_await gyre::with_timeout(gyre::sleep_for(1ms), std::chrono::nanoseconds::max());
        CHECK(nanoseconds);
        const auto milliseconds =
            co_await gyre::with_timeout(gyre::sleep_for(1ms), std::chrono::milliseconds::max());
        CHECK(milliseconds);
        const auto hours =
            co_await gyre::with_timeout(gyre::sleep_for(1ms), std::chrono::hours::max());
        CHECK(hours);
    });
}

TEST_CASE("with_timeout keeps the type of an outcome that can fail and wraps any other") {
    test::on_every_engine([]() -> gyre::task<> {
        auto number = []() -> gyre::task<int> { co_return 5; };
        auto nothing = []() -> gyre::task<> { co_return; };
        auto pair = co_await test::loopback_pair();

        auto of_value = co_await gyre::with_timeout(number(), 1h);
        static_assert(std::is_same_v<decltype(of_value), gyre::result<int>>);
        REQUIRE(of_value.has_value());
        CHECK(*of_value == 5);

        auto of_nothing = co_await gyre::with_timeout(nothing(), 1h);
        static_assert(std::is_same_v<decltype(of_nothing), gyre::result<void>>);
        CHECK(of_nothing);

        auto of_result = co_await gyre::with_timeout(nap(), 1ms);
        static_assert(std::is_same_v<decltype(of_result), gyre::result<void>>);
        CHECK(of_result.error() == gyre::errc::timed_out);

        auto of_transfer =
            co_await gyre::with_timeout(gyre::send_all(pair.client, test::bytes_of("x")), 1h);
        static_assert(std::is_same_v<decltype(of_transfer), gyre::transfer>);
        CHECK(of_transfer);
    });
}

TEST_CASE("a task without a value that its limit ended is timed out") {
    test::on_every_engine([]() -> gyre::task<> {
        auto waiting = []() -> gyre::task<> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK(slept.error() == gyre::errno_code(ECANCELED));
            CHECK(gyre::this_task::canceled());
        };
        const auto ended = co_await gyre::with_timeout(waiting(), 1ms);
        CHECK(ended.error() == gyre::errc::timed_out);
    });
}

TEST_CASE("a value that a task yields in spite of its limit stays a value") {
    test::on_every_engine([]() -> gyre::task<> {
        auto plain = []() -> gyre::task<int> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK_FALSE(slept);
            co_return 8;
        };
        const auto number = co_await gyre::with_timeout(plain(), 1ms);
        REQUIRE(number.has_value());
        CHECK(*number == 8);

        auto in_result = [](int error) -> gyre::task<gyre::result<int>> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK_FALSE(slept);
            if (error != 0) {
                co_return gyre::errno_code(error);
            }
            co_return 9;
        };
        const auto value = co_await gyre::with_timeout(in_result(0), 1ms);
        REQUIRE(value.has_value());
        CHECK(*value == 9);
        // A failure of its own is not the limit's.
        const auto failed = co_await gyre::with_timeout(in_result(EPROTO), 1ms);
        CHECK(failed.error() == gyre::errno_code(EPROTO));
    });
}

TEST_CASE("a transfer that its limit ended tells the bytes that moved") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("half"));
        REQUIRE(sent);
        std::array<std::byte, 8> buffer;
        const auto received =
            co_await gyre::with_timeout(gyre::recv_exactly(pair.server, buffer), 2ms);
        CHECK_FALSE(received);
        CHECK(received.error() == gyre::errc::timed_out);
        CHECK(received.bytes() == 4);
        CHECK(test::text_of(std::span(buffer).first(4)) == "half");
    });
}

TEST_CASE("of nested limits the one that passed first says so, the outer as well as the inner") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto inner =
            co_await gyre::with_timeout(gyre::with_timeout(gyre::sleep_for(1h), 1ms), 2h);
        CHECK(inner.error() == gyre::errc::timed_out);
        const auto outer =
            co_await gyre::with_timeout(gyre::with_timeout(gyre::sleep_for(1h), 2h), 1ms);
        CHECK(outer.error() == gyre::errc::timed_out);

        // Seen from inside, the outer limit is a cancel.
        std::error_code inside;
        auto waiting = [&]() -> gyre::task<> {
            const auto slept = co_await gyre::with_timeout(gyre::sleep_for(1h), 2h);
            inside = slept.error();
        };
        const auto ended = co_await gyre::with_timeout(waiting(), 1ms);
        CHECK(ended.error() == gyre::errc::timed_out);
        CHECK(inside == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("limits of the same length that pass together tell once") {
    test::on_every_engine([]() -> gyre::task<> {
        for (int round = 0; round < 20; ++round) {
            const auto slept = co_await gyre::with_timeout(
                gyre::with_timeout(gyre::with_timeout(nap(), 1ms), 1ms), 1ms
            );
            CHECK(slept.error() == gyre::errc::timed_out);
        }
    });
}

TEST_CASE("a cancel from above is ECANCELED and not timed_out") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                tasks.cancel();
            });
            const auto in_flight = co_await gyre::with_timeout(gyre::sleep_for(1h), 1h);
            CHECK(in_flight.error() == gyre::errno_code(ECANCELED));
            const auto refused = co_await gyre::with_timeout(gyre::sleep_for(1h), 0ms);
            CHECK(refused.error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a limit on a scope ends its children and its body, and they are joined") {
    test::on_every_engine([]() -> gyre::task<> {
        int ended = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            for (int i = 0; i < 3; ++i) {
                tasks.spawn([&]() -> gyre::task<> {
                    const auto slept = co_await gyre::sleep_for(1h);
                    CHECK_FALSE(slept);
                    co_await gyre::yield();
                    ++ended;
                });
            }
            const auto slept = co_await gyre::sleep_for(1h);
            co_return slept;
        };
        const auto outcome = co_await gyre::with_timeout(gyre::with_scope(body), 1ms);
        CHECK(outcome.error() == gyre::errc::timed_out);
        CHECK(ended == 3);
    });
}

TEST_CASE("an exception passes through a limit") {
    test::on_every_engine([]() -> gyre::task<> {
        auto throwing = []() -> gyre::task<int> {
            co_await gyre::yield();
            throw std::runtime_error("inside");
        };
        CHECK_THROWS_WITH_AS(
            static_cast<void>(co_await gyre::with_timeout(throwing(), 1h)),
            "inside",
            std::runtime_error
        );
    });
}

TEST_CASE("a task that ends at once under a limit of zero keeps its value") {
    test::on_every_engine([]() -> gyre::task<> {
        auto number = []() -> gyre::task<int> { co_return 5; };
        const auto value = co_await gyre::with_timeout(number(), 0ms);
        REQUIRE(value.has_value());
        CHECK(*value == 5);
    });
}

TEST_CASE("a thousand limits that pass at the same time all say so") {
    test::on_every_engine([]() -> gyre::task<> {
        int timed_out = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            for (int i = 0; i < 1'000; ++i) {
                tasks.spawn([&]() -> gyre::task<> {
                    const auto slept = co_await gyre::with_timeout(gyre::sleep_for(1h), 2ms);
                    timed_out += slept.error() == gyre::errc::timed_out ? 1 : 0;
                });
            }
            co_return;
        };
        co_await gyre::with_scope(body);
        CHECK(timed_out == 1'000);
    });
}

TEST_SUITE_END();
