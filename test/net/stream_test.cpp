#include <gyre/net/stream.hpp>

#include <gyre/operation/buffer.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

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

bool is_pattern(std::span<const std::byte> bytes, std::size_t from = 0) noexcept {
    for (std::size_t place = 0; place < bytes.size(); ++place) {
        if (bytes[place] != byte_at(from + place)) {
            return false;
        }
    }
    return true;
}

std::uint64_t submissions() {
    return gyre::scheduler::current().counters().submissions;
}

// Returns as soon as what was submitted since `before` has completed. It runs on before the tasks
// that the last completion has woken, since it was ready earlier: between completion and
// resumption.
gyre::task<> until_completed(std::uint64_t before) {
    while (submissions() == before || gyre::scheduler::current().operations_in_flight() != 0) {
        co_await gyre::yield();
    }
}

// Returns once `count` operations are in the kernel's hands.
gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield(); // The turn that submits them.
}

// Closes with a reset instead of the usual end.
void reset(gyre::stream&& peer) {
    gyre::stream dying(std::move(peer));
    const auto set = dying.set_option(gyre::linger(true, 0s));
    CHECK(set);
}

// A listener whose queue is full drops what knocks: connecting to it waits.
struct full_listener {
    full_listener()
        : listener(gyre::listener::bind(gyre::endpoint::loopback_v4(0), {.backlog = 0})) {}
    gyre::task<> fill() {
        const auto at = listener.local_endpoint();
        first.emplace(co_await gyre::or_throw(gyre::stream::connect(at.value())));
    }
    gyre::listener listener;
    std::optional<gyre::stream> first;
};

constexpr gyre::scheduler_options tiny_submission_queue{.submission_entries = 2};
constexpr gyre::scheduler_options tiny_completion_queue{
    .submission_entries = 2, .completion_entries = 2
};
constexpr std::size_t many = 48;

gyre::task<std::vector<test::tcp_pair>> many_pairs(std::size_t count) {
    std::vector<test::tcp_pair> pairs;
    for (std::size_t index = 0; index < count; ++index) {
        auto pair = co_await test::loopback_pair();
        pairs.push_back(std::move(pair));
    }
    co_return pairs;
}

// Every server receives what its client has sent before.
gyre::task<> receive_on_many() {
    auto pairs = co_await many_pairs(many);
    std::size_t right = 0;
    for (std::size_t index = 0; index < many; ++index) {
        const std::byte mark = byte_at(index);
        const auto sent = co_await pairs[index].client.send(std::span(&mark, 1));
        CHECK(sent);
    }

    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        for (std::size_t index = 0; index < many; ++index) {
            scope.spawn([&, index]() -> gyre::task<> {
                std::byte mark{};
                const auto received = co_await pairs[index].server.recv(std::span(&mark, 1));
                right += received && *received == 1 && mark == byte_at(index) ? 1U : 0U;
            });
        }
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);

    CHECK(right == many);
}

// Every client sends to its server.
gyre::task<> send_on_many() {
    auto pairs = co_await many_pairs(many);
    std::size_t taken = 0;
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        for (std::size_t index = 0; index < many; ++index) {
            scope.spawn([&, index]() -> gyre::task<> {
                const std::byte mark = byte_at(index);
                const auto sent = co_await pairs[index].client.send(std::span(&mark, 1));
                taken += sent && *sent == 1 ? 1U : 0U;
            });
        }
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);

    CHECK(taken == many);
    for (std::size_t index = 0; index < many; ++index) {
        std::array<std::byte, 2> mark{};
        const auto received = co_await pairs[index].server.recv(mark);
        REQUIRE(received);
        CHECK(*received == 1U);
        CHECK(mark[0] == byte_at(index));
    }
}

gyre::task<> connect_many() {
    auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
    const auto at = listener.local_endpoint().value();
    std::size_t connected = 0;
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        for (std::size_t index = 0; index < many; ++index) {
            scope.spawn([&]() -> gyre::task<> {
                const auto made = co_await gyre::stream::connect(at);
                connected += made ? 1U : 0U;
            });
        }
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    CHECK(connected == many);
}

} // namespace

TEST_SUITE_BEGIN("net/stream");

// recv

TEST_CASE("recv, full: a buffer is filled when that many bytes are there") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(1000);
        const auto sent = co_await gyre::send_all(pair.client, data);
        REQUIRE(sent);

        std::vector<std::byte> buffer(600);
        const auto first = co_await pair.server.recv(buffer);
        std::vector<std::byte> rest(600);
        const auto second = co_await pair.server.recv(rest);

        REQUIRE(first);
        CHECK(*first == 600U);
        CHECK(is_pattern(buffer));
        REQUIRE(second);
        CHECK(*second == 400U);
        CHECK(is_pattern(std::span(rest).first(400), 600));
    });
}

TEST_CASE("recv, short: what is there is the result, however large the buffer") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(test::bytes_of("hello"));
        REQUIRE(sent);

        std::vector<std::byte> buffer(1 << 20);
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "hello");
    });
}

TEST_CASE("recv yields 0 once the peer has closed its sending side") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto closed = pair.client.shutdown(gyre::shutdown_side::send);
        CHECK(closed);

        std::array<std::byte, 16> buffer;
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(received.has_value());
        CHECK(*received == 0);
    });
}

TEST_CASE("recv, peer error: a reset is ECONNRESET once, then the end") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        reset(std::move(pair.client));

        std::array<std::byte, 16> buffer;
        const auto first = co_await pair.server.recv(buffer);
        const auto second = co_await pair.server.recv(buffer);

        CHECK(first.error() == gyre::errno_code(ECONNRESET));
        REQUIRE(second);
        CHECK(*second == 0U);
    });
}

TEST_CASE("recv that waits already sees the reset as well") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 16> buffer;
                const auto received = co_await pair.server.recv(buffer);
                seen = received.error();
            });
            co_await until_in_flight(1);
            reset(std::move(pair.client));
        };
        co_await gyre::with_scope(body);

        CHECK(seen == gyre::errno_code(ECONNRESET));
    });
}

TEST_CASE("recv, stop before submission: it is refused and takes no byte") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(test::bytes_of("kept"));
        REQUIRE(sent);
        std::array<std::byte, 16> buffer{};
        std::optional<gyre::result<std::size_t>> refused;

        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            auto received = co_await pair.server.recv(buffer);
            refused.emplace(received);
        };
        co_await gyre::with_scope(body);
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(refused.has_value());
        CHECK(refused->error() == gyre::errno_code(ECANCELED));
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "kept");
    });
}

TEST_CASE("recv, stop in flight: the buffer is free when the task resumes, and no byte is lost") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::optional<gyre::result<std::size_t>> outcome;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                auto buffer = std::make_unique<std::array<std::byte, 64>>();
                auto received = co_await pair.server.recv(*buffer);
                buffer.reset();
                outcome.emplace(received);
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        const auto sent = co_await pair.client.send(test::bytes_of("afterwards"));
        std::array<std::byte, 64> buffer{};
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(outcome.has_value());
        CHECK(outcome->error() == gyre::errno_code(ECANCELED));
        CHECK(sent);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "afterwards");
    });
}

TEST_CASE("recv, stop after completion: the bytes are the result and the stop stays visible") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(test::bytes_of("won"));
        REQUIRE(sent);
        std::array<std::byte, 16> buffer{};
        std::optional<gyre::result<std::size_t>> outcome;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                auto received = co_await pair.server.recv(buffer);
                outcome.emplace(received);
                saw_stop = gyre::this_task::canceled();
            });
            co_await until_completed(before);
            CHECK(!outcome.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);

        REQUIRE(outcome.has_value());
        REQUIRE(outcome->has_value());
        CHECK(test::text_of(std::span(buffer).first(**outcome)) == "won");
        CHECK(saw_stop);
    });
}

TEST_CASE("recv, submission queue full: more receives than entries all complete") {
    test::on_every_engine(tiny_submission_queue, []() -> gyre::task<> {
        co_await receive_on_many();
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("recv, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        co_await receive_on_many();
        CHECK(gyre::scheduler::current().counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("recv, destroyed while idle: a receive that nobody awaits takes no byte") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(test::bytes_of("kept"));
        REQUIRE(sent);
        std::array<std::byte, 16> buffer{};
        {
            const auto unused = pair.server.recv(buffer);
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        CHECK(buffer[0] == std::byte{0});
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);

        const auto received = co_await pair.server.recv(buffer);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "kept");
    });
}

TEST_CASE("recv scatters over its buffers in order") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(300);
        const auto sent = co_await gyre::send_all(pair.client, data);
        REQUIRE(sent);

        std::vector<std::byte> one(100);
        std::vector<std::byte> none;
        std::vector<std::byte> two(50);
        std::vector<std::byte> three(1000);
        const std::array<gyre::mutable_buffer, 4> buffers{
            std::span(one), std::span(none), std::span(two), std::span(three)
        };
        const auto received = co_await pair.server.recv(buffers);

        REQUIRE(received);
        CHECK(*received == 300U);
        CHECK(is_pattern(one));
        CHECK(is_pattern(two, 100));
        CHECK(is_pattern(std::span(three).first(150), 150));
    });
}

TEST_CASE("a scattering recv can be canceled and leaves its list alone afterwards") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 8> memory{};
                const std::array<gyre::mutable_buffer, 1> buffers{gyre::mutable_buffer(memory)};
                const auto received = co_await pair.server.recv(buffers);
                seen = received.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("recv with MSG_PEEK leaves the bytes where they are") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(test::bytes_of("look"));
        REQUIRE(sent);
        std::array<std::byte, 16> buffer{};

        const auto peeked = co_await pair.server.recv(buffer, MSG_PEEK);
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(peeked);
        CHECK(*peeked == 4U);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "look");
    });
}

TEST_CASE("recv with MSG_DONTWAIT yields EAGAIN instead of waiting") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer{};
        const auto received = co_await pair.server.recv(buffer, MSG_DONTWAIT);
        CHECK(received.error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("recv with MSG_WAITALL that is canceled halfway yields the bytes that came") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::optional<gyre::result<std::size_t>> outcome;
        std::array<std::byte, 10> buffer{};
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                auto received = co_await pair.server.recv(buffer, MSG_WAITALL);
                outcome.emplace(received);
            });
            const auto sent = co_await pair.client.send(test::bytes_of("half"));
            CHECK(sent);
            // The bytes leave the socket when the receive has taken them in.
            std::array<std::byte, 1> look{};
            for (;;) {
                const auto there = pair.server.try_recv(look, MSG_PEEK);
                if (!there) {
                    break;
                }
                co_await gyre::yield();
            }
            scope.cancel();
        };
        co_await gyre::with_scope(body);

        REQUIRE(outcome.has_value());
        REQUIRE(outcome->has_value());
        CHECK(test::text_of(std::span(buffer).first(**outcome)) == "half");
    });
}

TEST_CASE("try_recv takes what is there and never waits") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer{};

        const auto nothing = pair.server.try_recv(buffer);
        const auto sent = co_await pair.client.send(test::bytes_of("now"));
        std::array<std::byte, 1> look{};
        const auto arrived = co_await pair.server.recv(look, MSG_PEEK);
        const auto something = pair.server.try_recv(buffer);
        const auto ended = pair.client.shutdown(gyre::shutdown_side::send);
        const auto end_arrived = co_await pair.server.recv(look);
        const auto end = pair.server.try_recv(buffer);

        CHECK(nothing.error() == gyre::errno_code(EAGAIN));
        CHECK(sent);
        CHECK(arrived);
        REQUIRE(something);
        CHECK(test::text_of(std::span(buffer).first(*something)) == "now");
        CHECK(ended);
        CHECK(end_arrived);
        REQUIRE(end);
        CHECK(*end == 0U);
    });
}

TEST_CASE("try_recv, shutdown and options need no scheduler") {
    auto pair = gyre::stream::pair();
    std::array<std::byte, 4> buffer{};
    CHECK(pair.first.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    CHECK(pair.second.shutdown(gyre::shutdown_side::send));
    const auto end = pair.first.try_recv(buffer);
    REQUIRE(end);
    CHECK(*end == 0U);
    const auto size = pair.first.option<gyre::receive_buffer_size>();
    CHECK(size);
}

// send

TEST_CASE("send, full: a buffer that fits is taken whole") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(4000);

        const auto sent = co_await pair.client.send(data);

        REQUIRE(sent);
        CHECK(*sent == 4000U);
        std::vector<std::byte> buffer(4000);
        const auto received = co_await gyre::recv_exactly(pair.server, buffer);
        CHECK(received);
        CHECK(is_pattern(buffer));
    });
}

TEST_CASE("send, short: a buffer larger than the socket takes is sent in part") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(32 << 20);

        const auto sent = co_await pair.client.send(data);

        REQUIRE(sent);
        CHECK(*sent > 0U);
        CHECK(*sent < data.size());
        std::vector<std::byte> buffer(*sent);
        const auto received = co_await gyre::recv_exactly(pair.server, buffer);
        CHECK(received);
        CHECK(is_pattern(buffer));
    });
}

TEST_CASE("send, peer error: EPIPE after a reset, and no SIGPIPE") {
    const auto before = std::signal(SIGPIPE, SIG_DFL);
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        reset(std::move(pair.client));
        std::array<std::byte, 16> buffer;
        const auto told = co_await pair.server.recv(buffer);
        CHECK(told.error() == gyre::errno_code(ECONNRESET));

        const auto data = pattern(10);
        const auto sent = co_await pair.server.send(data);
        const std::array<gyre::const_buffer, 1> list{std::span(data)};
        const auto gathered = co_await pair.server.send(list);
        const auto all = co_await gyre::send_all(pair.server, data);

        CHECK(sent.error() == gyre::errno_code(EPIPE));
        CHECK(gathered.error() == gyre::errno_code(EPIPE));
        CHECK(all.error() == gyre::errno_code(EPIPE));
        CHECK(all.bytes() == 0U);
    });
    std::signal(SIGPIPE, before);
}

TEST_CASE("send, stop before submission: it is refused and sends nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::optional<gyre::result<std::size_t>> refused;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            auto sent = co_await pair.client.send(test::bytes_of("never"));
            refused.emplace(sent);
        };
        co_await gyre::with_scope(body);
        const auto ended = pair.client.shutdown(gyre::shutdown_side::send);
        std::array<std::byte, 16> buffer{};
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(refused.has_value());
        CHECK(refused->error() == gyre::errno_code(ECANCELED));
        CHECK(ended);
        REQUIRE(received);
        CHECK(*received == 0U);
    });
}

TEST_CASE("send, stop in flight: a send that waits for room ends and adds no byte") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(32 << 20);
        std::size_t taken = 0;
        std::optional<gyre::result<std::size_t>> outcome;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                for (;;) {
                    auto sent = co_await pair.client.send(std::span(data).subspan(taken));
                    if (!sent) {
                        outcome.emplace(sent);
                        co_return;
                    }
                    taken += *sent;
                }
            });
            // Both socket buffers are full once the task does not get on any more.
            std::size_t before = 1;
            while (before != taken || taken == 0) {
                before = taken;
                for (int turn = 0; turn < 20; ++turn) {
                    const auto waited = co_await gyre::sleep_for(1ms);
                    CHECK(waited);
                }
            }
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        const auto ended = pair.client.shutdown(gyre::shutdown_side::send);
        std::vector<std::byte> all(taken + 1);
        const auto received = co_await gyre::recv_exactly(pair.server, all);

        REQUIRE(outcome.has_value());
        CHECK(outcome->error() == gyre::errno_code(ECANCELED));
        CHECK(ended);
        CHECK(received.error() == gyre::errc::end_of_stream);
        CHECK(received.bytes() == taken);
        CHECK(is_pattern(std::span(all).first(taken)));
    });
}

TEST_CASE("send, stop after completion: the count is the result and the stop stays visible") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::optional<gyre::result<std::size_t>> outcome;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                auto sent = co_await pair.client.send(test::bytes_of("sent"));
                outcome.emplace(sent);
                saw_stop = gyre::this_task::canceled();
            });
            co_await until_completed(before);
            CHECK(!outcome.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        std::array<std::byte, 16> buffer{};
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(outcome.has_value());
        REQUIRE(outcome->has_value());
        CHECK(**outcome == 4U);
        CHECK(saw_stop);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "sent");
    });
}

TEST_CASE("send, submission queue full: more sends than entries all complete") {
    test::on_every_engine(tiny_submission_queue, []() -> gyre::task<> {
        co_await send_on_many();
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("send, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        co_await send_on_many();
        CHECK(gyre::scheduler::current().counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("send, destroyed while idle: a send that nobody awaits sends nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        {
            const auto unused = pair.client.send(test::bytes_of("never"));
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        const auto sent = co_await pair.client.send(test::bytes_of("this"));
        CHECK(sent);
        std::array<std::byte, 16> buffer{};
        const auto received = co_await pair.server.recv(buffer);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "this");
    });
}

TEST_CASE("send gathers its buffers in order") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const std::array<gyre::const_buffer, 4> buffers{
            test::bytes_of("one "),
            test::bytes_of(""),
            test::bytes_of("two "),
            test::bytes_of("three")
        };
        const auto sent = co_await pair.client.send(buffers);
        REQUIRE(sent);
        CHECK(*sent == 13U);
        std::array<std::byte, 13> buffer{};
        const auto received = co_await gyre::recv_exactly(pair.server, buffer);
        CHECK(received);
        CHECK(test::text_of(buffer) == "one two three");
    });
}

TEST_CASE("send of nothing is 0 at once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(std::span<const std::byte>());
        REQUIRE(sent);
        CHECK(*sent == 0U);
    });
}

TEST_CASE("send with MSG_MORE holds the bytes back until the rest of the segment comes") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto begun = gyre::clock::now();
        const auto first = co_await pair.client.send(test::bytes_of("a"), MSG_MORE);
        std::array<std::byte, 2> buffer{};
        const auto held_back = pair.server.try_recv(buffer, MSG_PEEK);
        // The kernel holds them for 200 ms at most, so on a machine this slow nothing is proven.
        const bool in_time = gyre::clock::now() - begun < 100ms;
        const auto second = co_await pair.client.send(test::bytes_of("b"));
        const auto received = co_await gyre::recv_exactly(pair.server, buffer);

        CHECK(first);
        CHECK((!in_time || held_back.error() == gyre::errno_code(EAGAIN)));
        CHECK(second);
        CHECK(received);
        CHECK(test::text_of(buffer) == "ab");
    });
}

// connect

TEST_CASE("connect, full: a stream that knows both of its endpoints") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint();
        REQUIRE(at);

        auto client = co_await gyre::stream::connect(*at);
        gyre::endpoint peer;
        const auto server = co_await listener.accept(peer);

        REQUIRE(client);
        REQUIRE(server);
        CHECK(client->is_open());
        CHECK(client->peer_endpoint().value() == *at);
        CHECK(client->local_endpoint().value() == peer);
        CHECK(server->peer_endpoint().value() == peer);
        CHECK(server->local_endpoint().value() == *at);
        CHECK((::fcntl(client->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    });
}

TEST_CASE("connect, peer error: ECONNREFUSED where nobody listens") {
    test::on_every_engine([]() -> gyre::task<> {
        std::optional<gyre::listener> gone(gyre::listener::bind(gyre::endpoint::loopback_v4(0)));
        const auto at = gone->local_endpoint().value();
        gone.reset();
        const auto before = test::open_descriptors();

        const auto client = co_await gyre::stream::connect(at);

        CHECK(client.error() == gyre::errno_code(ECONNREFUSED));
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect, stop before submission: it is refused and opens no descriptor") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint().value();
        const auto before = test::open_descriptors();
        std::error_code refused;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto client = co_await gyre::stream::connect(at);
            refused = client.error();
            CHECK(test::open_descriptors() == before);
        };
        co_await gyre::with_scope(body);
        CHECK(refused == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("connect, stop in flight: the half-open connection is closed") {
    test::on_every_engine([]() -> gyre::task<> {
        full_listener full;
        co_await full.fill();
        const auto at = full.listener.local_endpoint().value();
        const auto before = test::open_descriptors();
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto client = co_await gyre::stream::connect(at);
                seen = client.error();
                CHECK(test::open_descriptors() == before);
            });
            co_await until_in_flight(1);
            CHECK(test::open_descriptors() == before + 1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("connect to a Unix socket whose backlog is full can be canceled as well") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string name = "unix:@gyre-stream-test-full-" + std::to_string(::getpid());
        const gyre::listen_options small{.backlog = 0};
        auto listener = gyre::listener::bind(name, small);
        const auto first = co_await gyre::stream::connect(name);
        CHECK(first);
        const auto before = test::open_descriptors();
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto second = co_await gyre::stream::connect(name);
                seen = second.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect, stop after completion: the stream is the result and the stop stays visible") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint().value();
        std::optional<gyre::stream> client;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                auto made = co_await gyre::stream::connect(at);
                saw_stop = gyre::this_task::canceled();
                if (made) {
                    client.emplace(*std::move(made));
                }
            });
            co_await until_completed(before);
            CHECK(!client.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);

        CHECK(saw_stop);
        REQUIRE(client.has_value());
        const auto sent = co_await client->send(test::bytes_of("x"));
        CHECK(sent);
    });
}

TEST_CASE("connect, submission queue full: more connects than entries all complete") {
    test::on_every_engine(tiny_submission_queue, []() -> gyre::task<> {
        co_await connect_many();
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("connect, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        co_await connect_many();
        CHECK(gyre::scheduler::current().counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("connect, destroyed while idle: a connect that nobody awaits opens no descriptor") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint().value();
        const auto before = test::open_descriptors();
        {
            const auto unused = gyre::stream::connect(at);
            static_cast<void>(unused);
            CHECK(test::open_descriptors() == before);
        }
        co_await gyre::yield();
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("a connect that exceeds its limit is timed out, not ETIMEDOUT, and leaks nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        full_listener full;
        co_await full.fill();
        const auto at = full.listener.local_endpoint().value();
        const auto before = test::open_descriptors();

        const auto client = co_await gyre::with_timeout(gyre::stream::connect(at), 5ms);

        CHECK(client.error() == gyre::errc::timed_out);
        CHECK(client.error() != gyre::errno_code(ETIMEDOUT));
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect comes from the local endpoint that was chosen") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint().value();
        gyre::connect_options options;
        options.from = gyre::endpoint::ipv4({127, 0, 0, 2}, 0);

        const auto client = co_await gyre::stream::connect(at, options);
        gyre::endpoint peer;
        const auto server = co_await listener.accept(peer);

        REQUIRE(client);
        REQUIRE(server);
        CHECK(peer.address()[3] == 2);
        CHECK(client->local_endpoint().value() == peer);
    });
}

TEST_CASE("connect reports a local endpoint that cannot be had, and closes its descriptor") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint().value();
        const auto before = test::open_descriptors();
        gyre::connect_options taken;
        taken.from = at;
        gyre::connect_options elsewhere;
        elsewhere.from = gyre::endpoint::ipv4({192, 0, 2, 1}, 0);

        const auto busy = co_await gyre::stream::connect(at, taken);
        const auto foreign = co_await gyre::stream::connect(at, elsewhere);
        const auto nowhere = co_await gyre::stream::connect(gyre::endpoint());

        CHECK(busy.error() == gyre::errno_code(EADDRINUSE));
        CHECK(foreign.error() == gyre::errno_code(EADDRNOTAVAIL));
        CHECK(nowhere.error() == gyre::errno_code(EAFNOSUPPORT));
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect reaches Unix sockets by path and by abstract name") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string path = "/tmp/gyre-stream-test-" + std::to_string(::getpid()) + ".sock";
        const std::array<std::string, 2> names{
            "unix:" + path, "unix:@gyre-stream-test-" + std::to_string(::getpid())
        };
        for (const std::string& name : names) {
            auto listener = gyre::listener::bind(name);
            auto client = co_await gyre::stream::connect(name);
            auto server = co_await listener.accept();
            REQUIRE(client);
            REQUIRE(server);
            CHECK(client->peer_endpoint().value().to_string() == name);
            const auto sent = co_await client->send(test::bytes_of("hi"));
            CHECK(sent);
            std::array<std::byte, 4> buffer{};
            const auto received = co_await server->recv(buffer);
            REQUIRE(received);
            CHECK(*received == 2U);
            const auto refused_option = client->set_option(gyre::no_delay(true));
            CHECK(refused_option.error() == gyre::errno_code(EOPNOTSUPP));
        }
        ::unlink(path.c_str());
        const auto nobody = co_await gyre::stream::connect(names[0]);
        CHECK(nobody.error() == gyre::errno_code(ENOENT));
    });
}

TEST_CASE("connect sets no_delay unless told otherwise") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint().value();
        gyre::connect_options delayed;
        delayed.no_delay = false;
        const auto quick = co_await gyre::stream::connect(at);
        const auto slow = co_await gyre::stream::connect(at, delayed);
        REQUIRE(quick);
        REQUIRE(slow);
        CHECK(quick->option<gyre::no_delay>().value());
        CHECK(!slow->option<gyre::no_delay>().value());
    });
}

TEST_CASE("connect with fast_open succeeds at once, and the first send carries the data") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto set = listener.set_option(gyre::fast_open(16));
        CHECK(set);
        const auto at = listener.local_endpoint().value();
        gyre::connect_options options;
        options.fast_open = true;

        auto client = co_await gyre::stream::connect(at, options);
        REQUIRE(client);
        CHECK(client->option<gyre::fast_open_connect>().value());
        const auto sent = co_await gyre::send_all(*client, test::bytes_of("early"));
        auto server = co_await listener.accept();
        REQUIRE(server);
        std::array<std::byte, 5> buffer{};
        const auto received = co_await gyre::recv_exactly(*server, buffer);

        CHECK(sent);
        CHECK(received);
        CHECK(test::text_of(buffer) == "early");
    });
}

// The ends of a conversation

TEST_CASE("shutdown ends one direction or both") {
    test::on_every_engine([]() -> gyre::task<> {
        std::array<std::byte, 16> buffer{};
        {
            auto pair = co_await test::loopback_pair();
            CHECK(pair.client.shutdown(gyre::shutdown_side::send));
            const auto at_peer = co_await pair.server.recv(buffer);
            const auto sent = co_await pair.client.send(test::bytes_of("x"));
            const auto back = co_await pair.server.send(test::bytes_of("y"));
            const auto received = co_await pair.client.recv(buffer);
            REQUIRE(at_peer);
            CHECK(*at_peer == 0U);
            CHECK(sent.error() == gyre::errno_code(EPIPE));
            CHECK(back);
            REQUIRE(received);
            CHECK(*received == 1U);
        }
        {
            auto pair = co_await test::loopback_pair();
            CHECK(pair.client.shutdown(gyre::shutdown_side::receive));
            const auto received = co_await pair.client.recv(buffer);
            REQUIRE(received);
            CHECK(*received == 0U);
        }
        {
            auto pair = co_await test::loopback_pair();
            CHECK(pair.client.shutdown(gyre::shutdown_side::both));
            const auto received = co_await pair.client.recv(buffer);
            const auto sent = co_await pair.client.send(test::bytes_of("x"));
            REQUIRE(received);
            CHECK(*received == 0U);
            CHECK(sent.error() == gyre::errno_code(EPIPE));
        }
    });
}

TEST_CASE("shutdown of both sides ends a receive that waits, as the peer's end does") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::optional<gyre::result<std::size_t>> outcome;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 16> buffer{};
                auto received = co_await pair.server.recv(buffer);
                outcome.emplace(received);
            });
            co_await until_in_flight(1);
            CHECK(pair.server.shutdown(gyre::shutdown_side::both));
        };
        co_await gyre::with_scope(body);
        REQUIRE(outcome.has_value());
        REQUIRE(outcome->has_value());
        CHECK(**outcome == 0U);
    });
}

TEST_CASE("shutdown of its own side ends a send that waits for room with EPIPE") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool local : {false, true}) {
            CAPTURE(local);
            std::optional<gyre::stream> sender;
            std::optional<gyre::stream> receiver; // which never reads
            if (local) {
                auto pair = gyre::stream::pair();
                sender.emplace(std::move(pair.first));
                receiver.emplace(std::move(pair.second));
            } else {
                auto pair = co_await test::loopback_pair();
                sender.emplace(std::move(pair.client));
                receiver.emplace(std::move(pair.server));
            }
            const auto data = pattern(16 << 20);
            std::optional<gyre::transfer> outcome;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto sent = co_await gyre::send_all(*sender, data);
                    outcome.emplace(sent);
                });
                co_await until_in_flight(1);
                const auto joined = co_await gyre::with_timeout(scope.join(), 20ms);
                CHECK(joined.error() == gyre::errc::timed_out); // There is no room.
                CHECK(sender->shutdown(gyre::shutdown_side::send));
            };
            co_await gyre::with_scope(body);
            REQUIRE(outcome.has_value());
            CHECK(outcome->error() == gyre::errno_code(EPIPE));
            const auto late = co_await sender->send(std::span(data).first(1));
            CHECK(late.error() == gyre::errno_code(EPIPE));
        }
    });
}

TEST_CASE("after a send that was canceled for want of room, shutdown makes sends fail at once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        const auto data = pattern(16 << 20);
        const auto canceled = co_await gyre::with_timeout(gyre::send_all(pair.first, data), 5ms);
        CHECK(canceled.error() == gyre::errc::timed_out);
        CHECK(pair.first.shutdown(gyre::shutdown_side::send));
        const auto sent = co_await pair.first.send(data);
        CHECK(sent.error() == gyre::errno_code(EPIPE));
    });
}

TEST_CASE("a half-closed stream still brings the whole reply") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto data = pattern(1 << 20);
        std::vector<std::byte> back;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::vector<std::byte> buffer(5000);
                for (;;) {
                    const auto received = co_await pair.server.recv(buffer);
                    if (!received || *received == 0) {
                        break;
                    }
                    const auto sent =
                        co_await gyre::send_all(pair.server, std::span(buffer).first(*received));
                    CHECK(sent);
                }
                CHECK(pair.server.shutdown(gyre::shutdown_side::send));
            });
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await gyre::send_all(pair.client, data);
                CHECK(sent);
                CHECK(pair.client.shutdown(gyre::shutdown_side::send));
            });
            std::vector<std::byte> buffer(7000);
            for (;;) {
                const auto received = co_await pair.client.recv(buffer);
                if (!received || *received == 0) {
                    CHECK(received);
                    break;
                }
                back.insert(
                    back.end(), buffer.begin(), buffer.begin() + static_cast<long>(*received)
                );
            }
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(back.size() == data.size());
        CHECK(back == data);
    });
}

TEST_CASE("close ends what other tasks have in flight with ECANCELED, then the peer sees the end") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::error_code received_error;
        gyre::transfer sent_outcome(0);
        const auto data = pattern(64 << 20);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 16> buffer{};
                const auto received = co_await pair.server.recv(buffer);
                received_error = received.error();
            });
            scope.spawn([&]() -> gyre::task<> {
                sent_outcome = co_await gyre::send_all(pair.server, data);
            });
            co_await until_in_flight(2);
            const auto before = test::open_descriptors();
            const auto closed = co_await pair.server.close();
            CHECK(closed);
            CHECK(test::open_descriptors() == before - 1);
            CHECK(!pair.server.is_open());
            CHECK(pair.server.native_handle() == -1);
        };
        co_await gyre::with_scope(body);

        CHECK(received_error == gyre::errno_code(ECANCELED));
        CHECK(sent_outcome.error() == gyre::errno_code(ECANCELED));
        std::vector<std::byte> buffer(1 << 16);
        std::size_t arrived = 0;
        for (;;) {
            const auto received = co_await pair.client.recv(buffer);
            REQUIRE(received);
            if (*received == 0) {
                break;
            }
            CHECK(is_pattern(std::span(buffer).first(*received), arrived));
            arrived += *received;
        }
        CHECK(arrived == sent_outcome.bytes());
    });
}

TEST_CASE("close returns although another task receives again and again") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        bool over = false;
        std::size_t canceled = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 16> buffer{};
                while (!over) { // It ignores every error.
                    const auto received = co_await pair.server.recv(buffer);
                    canceled += received.error() == gyre::errno_code(ECANCELED) ? 1U : 0U;
                }
            });
            co_await until_in_flight(1);
            const auto closed = co_await pair.server.close();
            over = true;
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(canceled == 1U);
    });
}

TEST_CASE("close works in a canceled scope, and counts as no refusal") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto before = gyre::scheduler::current().counters().refusals;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto closed = co_await pair.client.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(!pair.client.is_open());
        CHECK(gyre::scheduler::current().counters().refusals == before);
    });
}

TEST_CASE("a closed stream answers EBADF") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto& closed = pair.client;
        const auto first = co_await closed.close();
        const auto second = co_await closed.close();
        std::array<std::byte, 4> buffer{};
        const auto received = co_await closed.recv(buffer);
        const auto sent = co_await closed.send(buffer);
        const auto all = co_await gyre::send_all(closed, buffer);
        const auto exact = co_await gyre::recv_exactly(closed, buffer);
        const auto finished = co_await closed.finish(1s);
        const auto bad = gyre::errno_code(EBADF);

        CHECK(first);
        CHECK(second.error() == bad);
        CHECK(received.error() == bad);
        CHECK(sent.error() == bad);
        CHECK(all.error() == bad);
        CHECK(exact.error() == bad);
        CHECK(finished.error() == bad);
        CHECK(closed.try_recv(buffer).error() == bad);
        CHECK(closed.shutdown(gyre::shutdown_side::send).error() == bad);
        CHECK(closed.local_endpoint().error() == bad);
        CHECK(closed.peer_endpoint().error() == bad);
        CHECK(closed.tcp_info().error() == bad);
        CHECK(closed.option<gyre::no_delay>().error() == bad);
        CHECK(closed.set_option(gyre::no_delay(true)).error() == bad);
    });
}

TEST_CASE("destroying a stream with operations in flight cancels them and waits for them") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto owned = std::make_unique<gyre::stream>(std::move(pair.server));
        std::error_code received_error;
        std::error_code sent_error;
        const auto data = pattern(64 << 20);
        const auto before = test::open_descriptors();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                auto buffer = std::make_unique<std::array<std::byte, 64>>();
                const auto received = co_await owned->recv(*buffer);
                received_error = received.error();
            });
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await gyre::send_all(*owned, data);
                sent_error = sent.error();
            });
            co_await until_in_flight(2);
            owned.reset();
            CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
            CHECK(test::open_descriptors() == before - 1);
            CHECK(gyre::scheduler::current().counters().forced_drains == 2U);
        };
        co_await gyre::with_scope(body);
        CHECK(received_error == gyre::errno_code(ECANCELED));
        CHECK(sent_error == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("destroying a stream whose receive is only queued never lets it hit a successor") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const int number = pair.server.native_handle();
        auto owned = std::make_unique<gyre::stream>(std::move(pair.server));
        bool ended = false;
        std::array<std::byte, 8> other{};
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await gyre::yield(); // Now ready behind the body, in the same turn.
                CHECK(gyre::scheduler::current().operations_in_flight() == 1U);
                owned.reset();
                auto successor = gyre::stream::pair();
                CHECK(successor.second.native_handle() == number);
                const auto sent = co_await successor.first.send(test::bytes_of("mine"));
                CHECK(sent);
                const auto received = co_await successor.second.recv(other);
                CHECK(received.value_or(0) == 4U);
            });
            co_await gyre::yield();
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 8> buffer{};
                const auto received = co_await owned->recv(buffer);
                CHECK(received.error() == gyre::errno_code(ECANCELED));
                ended = true;
            });
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(ended);
        CHECK(test::text_of(std::span(other).first(4)) == "mine");
    });
}

TEST_CASE("a canceled task whose frame goes at once leaves nothing in flight") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        // The limit ends the task inside; its buffer is in the frame that goes with it.
        auto inside = [&]() -> gyre::task<gyre::result<void>> {
            std::array<std::byte, 4096> buffer{};
            co_await gyre::or_return(pair.server.recv(buffer));
            co_return gyre::result<void>();
        };
        const auto ended = co_await gyre::with_timeout(inside(), 2ms);
        CHECK(ended.error() == gyre::errc::timed_out);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
    });
}

TEST_CASE("an open stream can be moved, and assigning to one closes what it held") {
    test::on_every_engine([]() -> gyre::task<> {
        auto one = co_await test::loopback_pair();
        auto other = co_await test::loopback_pair();
        const auto before = test::open_descriptors();
        const int number = other.client.native_handle();

        one.client = std::move(other.client);

        CHECK(test::open_descriptors() == before - 1);
        CHECK(one.client.native_handle() == number);
        std::array<std::byte, 4> buffer{};
        const auto end = co_await one.server.recv(buffer);
        REQUIRE(end);
        CHECK(*end == 0U);
        gyre::stream moved(std::move(one.client));
        const auto sent = co_await moved.send(test::bytes_of("abc"));
        const auto received = co_await other.server.recv(buffer);
        CHECK(sent);
        CHECK(received.value_or(0) == 3U);
        gyre::stream& alias = moved;
        moved = std::move(alias);
        CHECK(moved.is_open());
        CHECK(!one.client.is_open()); // NOLINT(bugprone-use-after-move)
    });
}

TEST_CASE("adopt takes a descriptor that is O_NONBLOCK and still waits") {
    test::on_every_engine([]() -> gyre::task<> {
        std::array<int, 2> fds{};
        REQUIRE(
            ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0
        );
        auto one = gyre::stream::adopt(fds[0]);
        auto other = gyre::stream::adopt(fds[1]);
        const auto data = pattern(8 << 20);
        std::vector<std::byte> buffer(data.size());
        gyre::transfer received(0);
        gyre::transfer sent(0);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                received = co_await gyre::recv_exactly(one, buffer);
            });
            co_await until_in_flight(1);
            sent = co_await gyre::send_all(other, data);
        };
        co_await gyre::with_scope(body);
        CHECK(sent);
        CHECK(received);
        CHECK(buffer == data);
        const auto scattered_empty = one.try_recv(buffer);
        CHECK(scattered_empty.error() == gyre::errno_code(EAGAIN));
    });
}

// finish

namespace {

// The client sends a request of which the server reads all but 4 bytes, and gets 200 KB back.
// Yields how many bytes of it the client saw, and how the reply ended.
gyre::task<gyre::transfer> reply_of_200_kb(bool finish) {
    constexpr std::size_t size = std::size_t{200} * 1024;
    auto pair = co_await test::loopback_pair();
    const auto roomy = pair.server.set_option(gyre::send_buffer_size(1 << 20));
    CHECK(roomy);
    const auto asked = co_await gyre::send_all(pair.client, test::bytes_of("requestmore"));
    CHECK(asked);
    const auto half_closed = pair.client.shutdown(gyre::shutdown_side::send);
    CHECK(half_closed);

    std::array<std::byte, 7> request{};
    const auto read = co_await gyre::recv_exactly(pair.server, request);
    CHECK(read);
    const auto reply = pattern(size);
    const auto replied = co_await gyre::send_all(pair.server, reply);
    CHECK(replied);
    if (finish) {
        const auto finished = co_await pair.server.finish(10s);
        CHECK(finished);
        CHECK(!pair.server.is_open());
    } else {
        gyre::stream dropped(std::move(pair.server));
    }

    std::vector<std::byte> buffer(4096);
    std::size_t arrived = 0;
    for (;;) {
        const auto received = co_await pair.client.recv(buffer);
        if (!received) {
            co_return gyre::transfer(arrived, received.error());
        }
        if (*received == 0) {
            co_return gyre::transfer(arrived);
        }
        CHECK(is_pattern(std::span(buffer).first(*received), arrived));
        arrived += *received;
    }
}

} // namespace

TEST_CASE("finish delivers a reply of 200 KB whole although 4 bytes of the request are unread") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto finished = co_await reply_of_200_kb(true);
        CHECK(finished);
        CHECK(finished.bytes() == 200U * 1024U);
    });
}

TEST_CASE("destroying a stream with unread bytes takes the reply from the peer") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto destroyed = co_await reply_of_200_kb(false);
        CHECK(destroyed.error() == gyre::errno_code(ECONNRESET));
        CHECK(destroyed.bytes() < 200U * 1024U);
    });
}

TEST_CASE("finish waits no longer than its limit for the peer's end") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto begun = gyre::clock::now();
        const auto finished = co_await pair.server.finish(20ms);
        CHECK(finished.error() == gyre::errc::timed_out);
        CHECK(gyre::clock::now() - begun >= 20ms);
        CHECK(!pair.server.is_open());
        std::array<std::byte, 4> buffer{};
        const auto end = co_await pair.client.recv(buffer);
        REQUIRE(end);
        CHECK(*end == 0U);
    });
}

TEST_CASE("finish ends the sending side first, so that a peer that waits for the end sees it") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 4> buffer{};
                const auto end = co_await pair.client.recv(buffer);
                CHECK(end.value_or(1) == 0U);
                const auto closed = co_await pair.client.close();
                CHECK(closed);
            });
            const auto finished = co_await pair.server.finish(10s);
            CHECK(finished);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("finish is not held up by a peer that keeps sending") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::error_code ended;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto data = pattern(1 << 16);
                for (;;) {
                    const auto sent = co_await gyre::send_all(pair.client, data);
                    if (!sent) {
                        co_return;
                    }
                }
            });
            const auto finished = co_await pair.server.finish(20ms);
            ended = finished.error();
        };
        co_await gyre::with_scope(body);
        CHECK(ended == gyre::errc::timed_out);
        CHECK(!pair.server.is_open());
    });
}

TEST_CASE("finish in a canceled scope closes all the same") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto finished = co_await pair.server.finish(10s);
            CHECK(finished.error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
        CHECK(!pair.server.is_open());
    });
}

TEST_CASE("finish after the peer's reset says so and closes") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        reset(std::move(pair.client));
        const auto finished = co_await pair.server.finish(10s);
        // The reset is read, or shutdown(2) finds nobody there.
        const bool known = finished.error() == gyre::errno_code(ECONNRESET) ||
                           finished.error() == gyre::errno_code(ENOTCONN);
        CHECK(known);
        CHECK(!pair.server.is_open());
    });
}

TEST_CASE("a stream never moves the bytes of another: both directions at once, many streams") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr std::size_t streams = 16;
        constexpr std::size_t size = 300'000;
        auto pairs = co_await many_pairs(streams);
        const auto data = pattern(size + streams);
        std::size_t right = 0;
        auto exchange = [&](gyre::stream& here, std::size_t offset, std::size_t expected
                        ) -> gyre::task<> {
            std::vector<std::byte> buffer(size);
            const auto [sent, received] = co_await gyre::when_all(
                gyre::send_all(here, std::span(data).subspan(offset, size)),
                gyre::recv_exactly(here, buffer)
            );
            CHECK(sent);
            CHECK(received);
            right += is_pattern(buffer, expected) ? 1U : 0U;
        };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (std::size_t index = 0; index < streams; ++index) {
                scope.spawn(exchange(pairs[index].client, index, 0));
                scope.spawn(exchange(pairs[index].server, 0, index));
            }
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(right == 2 * streams);
    });
}

TEST_SUITE_END();
