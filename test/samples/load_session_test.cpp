#include "samples/load_session.hpp"

#include "samples/echo_session.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("samples/load_session");

namespace {

using server = gyre::task<>(gyre::stream peer);

/// What a session of load says of a server, and what it has counted.
gyre::task<gyre::result<void>>
outcome_with(server* serve, samples::load_settings chosen, samples::load_totals& totals) {
    auto pair = co_await test::loopback_pair();
    const samples::load_pattern pattern;
    samples::load_session session(std::move(pair.client), 77, chosen, pattern, totals);
    gyre::result<void> outcome;
    auto body = [&](gyre::scope& running) -> gyre::task<> {
        running.spawn(serve, std::move(pair.server));
        outcome = co_await session.run(gyre::clock::now() + 50ms);
        running.cancel();
    };
    co_await gyre::with_scope(body);
    co_return outcome;
}

gyre::task<> right(gyre::stream peer) {
    co_await samples::echo(std::move(peer), std::chrono::nanoseconds::max());
}

/// Echoes `count` bytes after the `change`, then goes on as it should.
template <class Change>
gyre::task<> echo_first(gyre::stream& peer, std::size_t count, Change change) {
    std::vector<std::byte> bytes(count);
    const auto received = co_await gyre::recv_exactly(peer, bytes);
    change(std::span(bytes).first(received.bytes()));
    const auto sent = co_await gyre::send_all(peer, bytes);
    CHECK(sent);
}

gyre::task<> flips_a_bit(gyre::stream peer) {
    co_await echo_first(peer, 64, [](std::span<std::byte> bytes) { bytes[63] ^= std::byte{4}; });
    co_await right(std::move(peer));
}

gyre::task<> swaps_two_requests(gyre::stream peer) {
    co_await echo_first(peer, 128, [](std::span<std::byte> bytes) {
        std::swap_ranges(bytes.begin(), bytes.begin() + 64, bytes.begin() + 64);
    });
    co_await right(std::move(peer));
}

gyre::task<> says_one_byte_more(gyre::stream peer) {
    for (;;) {
        std::array<std::byte, 4096> buffer;
        const auto received = co_await peer.recv(buffer);
        if (!received) {
            co_return;
        }
        const std::size_t count = *received == 0 ? 1 : *received;
        const auto sent = co_await gyre::send_all(peer, std::span(buffer).first(count));
        if (!sent || *received == 0) {
            co_return;
        }
    }
}

gyre::task<> keeps_the_last_byte(gyre::stream peer) {
    std::array<std::byte, 64> bytes;
    const auto received = co_await gyre::recv_exactly(peer, bytes);
    CHECK(received);
    const auto sent = co_await gyre::send_all(peer, std::span(bytes).first(63));
    CHECK(sent);
}

gyre::task<> says_nothing(gyre::stream peer) {
    std::array<std::byte, 4096> buffer;
    for (;;) {
        const auto received = co_await peer.recv(buffer);
        if (!received || *received == 0) {
            co_return;
        }
    }
}

} // namespace

TEST_CASE("a right server is found right, whatever the sizes, and every request is counted") {
    for (const std::size_t size : {1UL, 64UL, 65'537UL, 3'000'000UL}) {
        for (const std::size_t pipeline : {1UL, 3UL, 8UL}) {
            INFO("size ", size, ", pipeline ", pipeline);
            test::on_every_engine([&]() -> gyre::task<> {
                samples::load_settings chosen;
                chosen.size = size;
                chosen.pipeline = pipeline;
                samples::load_totals totals;
                const auto outcome = co_await outcome_with(&right, chosen, totals);
                CHECK(outcome);
                CHECK(totals.requests >= pipeline);
                CHECK(totals.times.total() == totals.requests);
            });
        }
    }
}

TEST_CASE("a byte that is wrong, missing, misplaced, too much or late is found") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::load_settings chosen;
        chosen.pipeline = 2;
        chosen.patience = 200ms;
        samples::load_totals totals;

        const auto wrong = co_await outcome_with(&flips_a_bit, chosen, totals);
        CHECK(wrong.error() == gyre::errno_code(EBADMSG));
        const auto swapped = co_await outcome_with(&swaps_two_requests, chosen, totals);
        CHECK(swapped.error() == gyre::errno_code(EBADMSG));
        const auto surplus = co_await outcome_with(&says_one_byte_more, chosen, totals);
        CHECK(surplus.error() == gyre::errno_code(EBADMSG));
        const auto late = co_await outcome_with(&says_nothing, chosen, totals);
        CHECK(late.error() == gyre::errc::timed_out);
        chosen.pipeline = 1;
        const auto missing = co_await outcome_with(&keeps_the_last_byte, chosen, totals);
        CHECK(missing.error() == gyre::errc::end_of_stream);
    });
}

TEST_CASE("a percentile of the latencies is right within two percent, the maximum exactly") {
    samples::latencies times;
    for (int microsecond = 1; microsecond <= 100'000; ++microsecond) {
        times.record(std::chrono::microseconds(microsecond));
    }
    for (const double fraction : {0.0001, 0.5, 0.99, 0.999, 1.0}) {
        const double exact = fraction * 100'000'000;
        const auto told = static_cast<double>(times.percentile(fraction).count());
        CHECK(told >= exact);
        CHECK(told <= exact * 1.02);
    }
    CHECK(times.max() == 100ms);
    CHECK(times.total() == 100'000);

    samples::latencies extremes;
    CHECK(extremes.percentile(0.5) == 0ns);
    extremes.record(0ns);
    extremes.record(std::chrono::nanoseconds::max());
    CHECK(extremes.percentile(0.5) == 0ns);
    CHECK(extremes.percentile(1) == std::chrono::nanoseconds::max());
}

TEST_SUITE_END();
