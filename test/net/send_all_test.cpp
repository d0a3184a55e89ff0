#include <gyre/net/send_all.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <optional>
#include <vector>

#include <sys/socket.h>

namespace {

using namespace std::chrono_literals;

// Every byte tells its place, so that a hole, a swap or a repetition shows.
std::byte byte_at(std::size_t place) noexcept {
    return static_cast<std::byte>((place * 31 + (place >> 8) * 7) & 0xff);
}

std::vector<std::byte> pattern(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t place = 0; place < size; ++place) {
        bytes[place] = byte_at(place);
    }
    return bytes;
}

// Receives to the end; the count, or nothing if a byte was wrong.
gyre::task<std::optional<std::size_t>> receive_pattern(gyre::stream& from) {
    std::vector<std::byte> buffer(100'000);
    std::size_t arrived = 0;
    for (;;) {
        const auto received = co_await from.recv(buffer);
        if (!received || *received == 0) {
            co_return arrived;
        }
        for (std::size_t place = 0; place < *received; ++place) {
            if (buffer[place] != byte_at(arrived + place)) {
                co_return std::nullopt;
            }
        }
        arrived += *received;
    }
}

} // namespace

TEST_SUITE_BEGIN("net/send_all");

TEST_CASE("send_all sends 64 MiB to a reader that takes its time") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(64 << 20);
        gyre::transfer sent(0);
        std::size_t arrived = 0;
        bool right = true;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                sent = co_await gyre::send_all(pair.client, data);
                CHECK(pair.client.shutdown(gyre::shutdown_side::send));
            });
            std::vector<std::byte> buffer(200'000);
            for (;;) {
                const auto received = co_await pair.server.recv(buffer);
                if (!received || *received == 0) {
                    break;
                }
                for (std::size_t place = 0; place < *received; ++place) {
                    right = right && buffer[place] == byte_at(arrived + place);
                }
                if ((arrived >> 23) != ((arrived + *received) >> 23)) { // Every 8 MiB it rests.
                    const auto rested = co_await gyre::sleep_for(3ms);
                    CHECK(rested);
                }
                arrived += *received;
            }
        };
        co_await gyre::with_scope(body);

        CHECK(sent);
        CHECK(sent.bytes() == data.size());
        CHECK(arrived == data.size());
        CHECK(right);
    });
}

TEST_CASE("send_all of nothing is complete at once and submits nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto before = gyre::scheduler::current().counters().submissions;
        const auto sent = co_await gyre::send_all(pair.client, {});
        co_await gyre::yield();
        CHECK(sent);
        CHECK(sent.bytes() == 0U);
        CHECK(gyre::scheduler::current().counters().submissions == before);
    });
}

TEST_CASE("send_all to a peer that resets halfway tells how many bytes were taken") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(64 << 20);
        gyre::transfer sent(0);
        std::size_t read = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                sent = co_await gyre::send_all(pair.client, data);
            });
            std::vector<std::byte> buffer(1 << 20);
            const auto received = co_await gyre::recv_exactly(pair.server, buffer);
            CHECK(received);
            read = received.bytes();
            const auto set = pair.server.set_option(gyre::linger(true, 0s));
            CHECK(set);
            gyre::stream dying(std::move(pair.server));
        };
        co_await gyre::with_scope(body);

        CHECK(!sent);
        // The reset, or that nobody is there any more: the kernel tells the first one once.
        const bool known =
            sent.error() == gyre::errno_code(ECONNRESET) || sent.error() == gyre::errno_code(EPIPE);
        CHECK(known);
        CHECK(sent.bytes() >= read);
        CHECK(sent.bytes() < data.size());
    });
}

TEST_CASE("a send_all canceled halfway tells exactly the bytes that the peer gets") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto data = pattern(64 << 20);
        for (std::size_t round = 0; round < 12; ++round) {
            auto pair = co_await test::loopback_pair();
            gyre::transfer sent(0);
            std::optional<std::size_t> arrived;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    sent = co_await gyre::send_all(pair.client, data);
                });
                std::vector<std::byte> buffer(round * 77'777 + 1);
                const auto received = co_await gyre::recv_exactly(pair.server, buffer);
                CHECK(received);
                scope.cancel();
                const auto joined = co_await scope.join();
                CHECK(joined);
                arrived = received.bytes();
                for (std::size_t place = 0; place < buffer.size(); ++place) {
                    if (buffer[place] != byte_at(place)) {
                        arrived.reset();
                        break;
                    }
                }
            };
            co_await gyre::with_scope(body);
            REQUIRE(arrived.has_value());
            CHECK(sent.error() == gyre::errno_code(ECANCELED));
            CHECK(pair.client.shutdown(gyre::shutdown_side::send));

            std::vector<std::byte> buffer(100'000);
            std::size_t place = *arrived;
            bool right = true;
            for (;;) {
                const auto received = co_await pair.server.recv(buffer);
                REQUIRE(received);
                if (*received == 0) {
                    break;
                }
                for (std::size_t index = 0; index < *received; ++index) {
                    right = right && buffer[index] == byte_at(place + index);
                }
                place += *received;
            }
            CHECK(right);
            CHECK(place == sent.bytes());
        }
    });
}

TEST_CASE("a send_all that runs into its limit tells the bytes and timed_out") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(64 << 20);
        const auto sent = co_await gyre::with_timeout(gyre::send_all(pair.client, data), 10ms);
        CHECK(sent.error() == gyre::errc::timed_out);
        CHECK(sent.bytes() > 0U);
        CHECK(pair.client.shutdown(gyre::shutdown_side::send));
        const auto arrived = co_await receive_pattern(pair.server);
        REQUIRE(arrived.has_value());
        CHECK(*arrived == sent.bytes());
    });
}

TEST_CASE("a send_all in a canceled scope is refused with no byte sent") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        gyre::transfer sent(99);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            sent = co_await gyre::send_all(pair.client, test::bytes_of("never"));
        };
        co_await gyre::with_scope(body);
        CHECK(sent.error() == gyre::errno_code(ECANCELED));
        CHECK(sent.bytes() == 0U);
        CHECK(pair.client.shutdown(gyre::shutdown_side::send));
        const auto arrived = co_await receive_pattern(pair.server);
        CHECK(arrived.value_or(1) == 0U);
    });
}

TEST_CASE("send_all passes MSG_MORE on") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto head = co_await gyre::send_all(pair.client, test::bytes_of("head "), MSG_MORE);
        const auto tail = co_await gyre::send_all(pair.client, test::bytes_of("tail"));
        CHECK(head);
        CHECK(tail);
        std::array<std::byte, 16> buffer{};
        const auto received = co_await pair.server.recv(buffer);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "head tail");
    });
}

TEST_CASE("send_all with MSG_DONTWAIT never waits: what fits is sent, then EAGAIN") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(64 << 20);
        // The limit turns a send that tries again for ever into a failure instead of a hang.
        const auto sent =
            co_await gyre::with_timeout(gyre::send_all(pair.client, data, MSG_DONTWAIT), 2s);
        CHECK(sent.error() == gyre::errno_code(EAGAIN));
        CHECK(sent.bytes() > 0U);
        CHECK(gyre::scheduler::current().counters().rearms < 1000U);
    });
}

TEST_SUITE_END();
