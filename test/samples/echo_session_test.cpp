#include "samples/echo_session.hpp"

#include "support/test.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("samples/echo_session");

constexpr auto no_limit = std::chrono::nanoseconds::max();

namespace {

/// The answer of a session to `client`: all of `size` bytes, or fewer if it ends before.
gyre::task<std::size_t> count_until_end(gyre::stream& client) {
    std::array<std::byte, 4096> buffer;
    std::size_t count = 0;
    for (;;) {
        const auto received = co_await client.recv(buffer);
        if (!received || *received == 0) {
            co_return count;
        }
        count += *received;
    }
}

} // namespace

TEST_CASE("every byte comes back, in order, and the session ends when its peer does") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto& client = pair.client;
        auto body = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn(samples::echo, std::move(pair.server), no_limit);
            for (const std::string_view word : {"one", "two", "three"}) {
                const auto sent = co_await gyre::send_all(client, test::bytes_of(word));
                CHECK(sent);
                std::array<std::byte, 16> buffer;
                const auto came =
                    co_await gyre::recv_exactly(client, std::span(buffer).first(word.size()));
                CHECK(test::text_of(std::span(buffer).first(came.bytes())) == word);
            }
            CHECK(client.shutdown(gyre::shutdown_side::send));
            const std::size_t more = co_await count_until_end(client);
            CHECK(more == 0);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a peer that has ended its side gets all that it is owed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const std::vector<std::byte> words(100'000, std::byte{'w'});
        const auto sent = co_await gyre::send_all(pair.client, words);
        REQUIRE(sent);
        REQUIRE(pair.client.shutdown(gyre::shutdown_side::send));

        auto body = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn(samples::echo, std::move(pair.server), no_limit);
            const std::size_t count = co_await count_until_end(pair.client);
            CHECK(count == words.size());
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a silent peer is told of the end when its time is up, not before") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto started = gyre::clock::now();
        auto body = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn(samples::echo, std::move(pair.server), 20ms);
            const std::size_t count = co_await count_until_end(pair.client);
            CHECK(count == 0);
            CHECK(gyre::clock::now() - started >= 20ms);
            const auto closed = co_await pair.client.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(gyre::clock::now() - started < 1s); // The goodbye did not wait for its limit.
    });
}

TEST_CASE("a stop ends an idle session, and its peer sees the end") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto stopped = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn(samples::echo, std::move(pair.server), no_limit);
            co_await gyre::yield(); // Now it waits.
            running.request_stop();
            const std::size_t count = co_await count_until_end(pair.client);
            CHECK(count == 0);
            const auto closed = co_await pair.client.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(stopped);
    });
}

TEST_CASE("a peer that resets its connection ends its session") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn(samples::echo, std::move(pair.server), no_limit);
            const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("unread"));
            CHECK(sent);
            std::byte first;
            const auto peeked = co_await pair.client.recv(std::span(&first, 1));
            CHECK(peeked);
            const auto closed = co_await pair.client.close(); // Bytes are unread: a reset.
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a peer that never reads holds its session until the scope is canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn(samples::echo, std::move(pair.server), no_limit);
            const std::vector<std::byte> words(65536);
            for (;;) {
                const auto sent =
                    co_await gyre::with_timeout(gyre::send_all(pair.client, words), 100ms);
                if (!sent) {
                    CHECK(sent.error() == gyre::errc::timed_out);
                    break;
                }
            }
            running.request_stop(); // It waits to send, which is no idle wait.
            co_await gyre::yield();
            CHECK(running.size() == 1);
            running.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();
