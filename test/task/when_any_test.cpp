#include <gyre/task/when_any.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <tuple>

TEST_SUITE_BEGIN("task/when_any");

namespace {

using namespace std::chrono_literals;

gyre::task<int> number_after(int value, int yields) {
    for (int i = 0; i < yields; ++i) {
        co_await gyre::yield();
    }
    co_return value;
}

gyre::task<int> throw_after(const char* text, int yields) {
    for (int i = 0; i < yields; ++i) {
        co_await gyre::yield();
    }
    throw std::runtime_error(text);
}

} // namespace

TEST_CASE("when_any yields the index of the first to end and the outcome of every branch") {
    test::on_every_engine([]() -> gyre::task<> {
        auto ended =
            co_await gyre::when_any(gyre::sleep_for(1h), gyre::sleep_for(1ms), gyre::sleep_for(2h));
        CHECK(ended.index == 1);
        CHECK(std::get<0>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<1>(ended.outcomes));
        CHECK(std::get<2>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("when_any waits for the losers, whatever they do about the cancel") {
    test::on_every_engine([]() -> gyre::task<> {
        bool loser_ended = false;
        auto loser = [&]() -> gyre::task<> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK(slept.error() == gyre::errno_code(ECANCELED));
            const auto last_words = co_await gyre::shielded(gyre::sleep_for(1ms));
            CHECK(last_words);
            loser_ended = true;
        };
        const auto ended = co_await gyre::when_any(loser(), gyre::sleep_for(1ms));
        CHECK(ended.index == 1);
        CHECK(loser_ended);
    });
}

TEST_CASE("a loser that had received bytes says so, and they are in its buffer") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer;
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("part"));
        REQUIRE(sent);

        const auto ended =
            co_await gyre::when_any(gyre::recv_exactly(pair.server, buffer), gyre::sleep_for(5ms));

        CHECK(ended.index == 1);
        const auto& received = std::get<0>(ended.outcomes);
        CHECK_FALSE(received);
        CHECK(received.error() == gyre::errno_code(ECANCELED));
        CHECK(received.bytes() == 4);
        CHECK(test::text_of(std::span(buffer).first(received.bytes())) == "part");

        // Nothing was swallowed: what comes next is the next byte.
        const auto more = co_await gyre::send_all(pair.client, test::bytes_of("next"));
        REQUIRE(more);
        const auto rest = co_await gyre::recv_exactly(pair.server, std::span(buffer).subspan(4, 4));
        REQUIRE(rest);
        CHECK(test::text_of(std::span(buffer).first(8)) == "partnext");
    });
}

TEST_CASE("a loser whose data arrives while it is canceled keeps it or leaves it in the socket") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 4> buffer;
        // Sender and winner are the same branch, so the bytes race with the cancel.
        const auto ended = co_await gyre::when_any(
            pair.server.recv(buffer), gyre::send_all(pair.client, test::bytes_of("race"))
        );
        const auto& received = std::get<0>(ended.outcomes);
        if (received) {
            CHECK(*received == 4);
        } else {
            CHECK(received.error() == gyre::errno_code(ECANCELED));
            const auto kept = co_await gyre::recv_exactly(pair.server, buffer);
            CHECK(kept);
        }
        CHECK(test::text_of(buffer) == "race");
    });
}

TEST_CASE("a branch that ends at once wins, and the later ones are refused") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 4> buffer;
        const auto ended = co_await gyre::when_any(
            gyre::send_all(pair.client, test::bytes_of("")),
            pair.server.recv(buffer),
            gyre::sleep_for(1h)
        );
        CHECK(ended.index == 0);
        CHECK(std::get<0>(ended.outcomes));
        CHECK(std::get<1>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<2>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("a branch that ends at once cancels the earlier ones, which are in flight") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 4> buffer;
        const auto ended = co_await gyre::when_any(
            pair.server.recv(buffer),
            gyre::sleep_for(1h),
            gyre::send_all(pair.client, test::bytes_of(""))
        );
        CHECK(ended.index == 2);
        CHECK(std::get<0>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<1>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<2>(ended.outcomes));
    });
}

TEST_CASE("of branches that all end at once the first one wins") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto ended = co_await gyre::when_any(
            gyre::send_all(pair.client, test::bytes_of("")),
            gyre::send_all(pair.server, test::bytes_of(""))
        );
        CHECK(ended.index == 0);
        CHECK(std::get<0>(ended.outcomes));
    });
}

TEST_CASE("when_any of tasks yields their values, and a void one as a success") {
    test::on_every_engine([]() -> gyre::task<> {
        auto nothing = []() -> gyre::task<> { co_await gyre::yield(); };
        const auto ended = co_await gyre::when_any(number_after(1, 5), nothing());
        CHECK(ended.index == 1);
        CHECK(std::get<0>(ended.outcomes) == 1); // It never looked at the cancel.
        CHECK(std::get<1>(ended.outcomes));
    });
}

TEST_CASE("when_any yields move-only outcomes") {
    test::on_every_engine([]() -> gyre::task<> {
        auto making = []() -> gyre::task<std::unique_ptr<int>> {
            co_await gyre::yield();
            co_return std::make_unique<int>(6);
        };
        const auto ended = co_await gyre::when_any(making(), gyre::sleep_for(1h));
        CHECK(ended.index == 0);
        CHECK(*std::get<0>(ended.outcomes) == 6);
    });
}

TEST_CASE("an exception of a branch ends the others and is thrown, of a loser as well") {
    test::on_every_engine([]() -> gyre::task<> {
        CHECK_THROWS_WITH_AS(
            co_await gyre::when_any(gyre::sleep_for(1h), throw_after("first", 1)),
            "first",
            std::runtime_error
        );
        CHECK_THROWS_WITH_AS(
            co_await gyre::when_any(number_after(1, 1), throw_after("loser", 3)),
            "loser",
            std::runtime_error
        );
    });
}

TEST_CASE("when_any nests in when_all and in when_any") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto all = co_await gyre::when_all(
            gyre::when_any(gyre::sleep_for(1ms), gyre::sleep_for(1h)),
            gyre::when_any(gyre::sleep_for(1h), number_after(2, 3)),
            number_after(3, 0)
        );
        CHECK(std::get<0>(all).index == 0);
        CHECK(std::get<1>(all).index == 1);
        CHECK(std::get<1>(std::get<1>(all).outcomes) == 2);
        CHECK(std::get<2>(all) == 3);

        const auto any = co_await gyre::when_any(
            gyre::when_any(gyre::sleep_for(1h), gyre::sleep_for(2h)),
            gyre::when_all(gyre::sleep_for(1h), gyre::sleep_for(2h)),
            gyre::sleep_for(1ms)
        );
        CHECK(any.index == 2);
        const auto& inner = std::get<0>(any.outcomes);
        CHECK(inner.index == 0);
        CHECK(std::get<1>(inner.outcomes).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<0>(std::get<1>(any.outcomes)).error() == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("branches that end in the same turn tell their when_any once") {
    test::on_every_engine([]() -> gyre::task<> {
        for (int round = 0; round < 50; ++round) {
            const auto ended = co_await gyre::when_any(
                gyre::sleep_for(1ms),
                gyre::sleep_for(1ms),
                gyre::when_any(gyre::sleep_for(1ms), gyre::sleep_for(1ms)),
                gyre::with_timeout(gyre::sleep_for(1ms), 1ms)
            );
            CHECK(ended.index < 4);
        }
    });
}

TEST_CASE("a cancel from above that meets the end of a branch tells when_any once") {
    test::on_every_engine([]() -> gyre::task<> {
        bool open = false;
        auto gate = [&]() -> gyre::task<> {
            while (!open) {
                co_await gyre::yield();
            }
        };
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                const auto ended = co_await gyre::when_any(gate(), gyre::sleep_for(1h));
                CHECK(ended.index == 0);
            });
            co_await gyre::yield();
            co_await gyre::yield();
            open = true;
            co_await gyre::yield(); // The gate ends in this turn, and its when_any is ready.
            tasks.cancel();
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("when_any over two streams with one submission entry cancels the loser") {
    gyre::scheduler_options options;
    options.submission_entries = 1;
    test::on_every_engine(options, []() -> gyre::task<> {
        auto one = gyre::stream::pair();
        auto other = gyre::stream::pair();
        const auto sent = co_await gyre::send_all(one.first, test::bytes_of("x"));
        REQUIRE(sent);
        std::array<std::byte, 1> first;
        std::array<std::byte, 1> second;
        std::array<std::byte, 1> third;
        auto third_pair = gyre::stream::pair();
        const auto ended = co_await gyre::when_any(
            one.second.recv(first), other.second.recv(second), third_pair.second.recv(third)
        );
        CHECK(ended.index == 0);
        CHECK(std::get<1>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<2>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
    });
}

TEST_SUITE_END();
