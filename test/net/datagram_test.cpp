#include <gyre/net/datagram.hpp>

#include <gyre/operation/buffer.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/ring/features.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/scripted_engine.hpp"
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
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

// Where a socket of each kind is bound: the kernel chooses port and name.
const std::vector<std::string>& kinds() {
    static const std::vector<std::string> all = [] {
        std::vector<std::string> some = {"127.0.0.1:0", "unix:"};
        if (gyre::datagram::try_bind("[::1]:0")) {
            some.emplace_back("[::1]:0");
        }
        return some;
    }();
    return all;
}

// On each engine, for each kind of socket.
template <class Body>
void on_every_kind(gyre::scheduler_options options, Body body) {
    if (kinds().size() != 3) {
        test::skip("this machine has no IPv6");
    }
    for (const std::string& kind : kinds()) {
        INFO("bound to ", kind);
        test::on_every_engine(options, [&]() { return body(gyre::endpoint(kind)); });
    }
}
template <class Body>
void on_every_kind(Body body) {
    on_every_kind(gyre::scheduler_options(), body);
}

gyre::endpoint place_of(const gyre::datagram& which) {
    return which.local_endpoint().value();
}

std::string_view bytes_in(std::span<const std::byte> buffer, const gyre::message_size& size) {
    return test::text_of(buffer.first(size.stored()));
}

// Returns once a message is there: loopback may deliver a moment after the send.
gyre::task<> until_there(gyre::datagram& receiver) {
    const auto peeked = co_await receiver.recv(std::span<std::byte>(), MSG_PEEK);
    CHECK(peeked);
}

std::uint64_t submissions() {
    return gyre::scheduler::current().counters().submissions;
}

// As in stream_test.cpp: returns once what was submitted since `before` has completed.
gyre::task<> until_completed(std::uint64_t before) {
    while (submissions() == before || gyre::scheduler::current().operations_in_flight() != 0) {
        co_await gyre::yield();
    }
}

gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield(); // The turn that submits them.
}

constexpr gyre::scheduler_options tiny_submission_queue{.submission_entries = 2};
constexpr gyre::scheduler_options tiny_completion_queue{
    .submission_entries = 2, .completion_entries = 2
};
constexpr std::size_t many = 48;

std::string numbered(std::size_t number) {
    return "message " + std::to_string(number);
}

std::vector<gyre::datagram> bind_many() {
    std::vector<gyre::datagram> all;
    for (std::size_t index = 0; index < many; ++index) {
        all.push_back(gyre::datagram::bind("127.0.0.1:0"));
    }
    return all;
}

gyre::task<> receive_on_many() {
    auto sender = gyre::datagram::bind("127.0.0.1:0");
    auto sockets = bind_many();
    for (std::size_t index = 0; index < many; ++index) {
        const auto text = numbered(index);
        const auto sent = sender.try_sendto(test::bytes_of(text), place_of(sockets[index]));
        REQUIRE(sent);
    }
    std::size_t right = 0;
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        for (std::size_t index = 0; index < many; ++index) {
            scope.spawn([&, index]() -> gyre::task<> {
                std::array<std::byte, 32> buffer;
                gyre::endpoint from;
                const auto received = co_await sockets[index].recvfrom(buffer, from);
                right += received && bytes_in(buffer, *received) == numbered(index) &&
                                 from == place_of(sender)
                             ? 1U
                             : 0U;
            });
        }
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    CHECK(right == many);
}

gyre::task<> send_on_many() {
    auto receiver = gyre::datagram::bind("127.0.0.1:0");
    const gyre::endpoint at = place_of(receiver);
    auto sockets = bind_many();
    std::size_t taken = 0;
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        for (std::size_t index = 0; index < many; ++index) {
            scope.spawn([&, index]() -> gyre::task<> {
                const auto text = numbered(index);
                const auto sent = co_await sockets[index].sendto(test::bytes_of(text), at);
                taken += sent && *sent == text.size() ? 1U : 0U;
            });
        }
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    CHECK(taken == many);
    std::array<std::byte, 32> buffer;
    for (std::size_t index = 0; index < many; ++index) {
        gyre::endpoint from;
        const auto received = co_await receiver.recvfrom(buffer, from);
        REQUIRE(received);
        std::size_t sender = 0;
        while (sender < many && place_of(sockets[sender]) != from) {
            ++sender;
        }
        CHECK(bytes_in(buffer, *received) == numbered(sender));
    }
}

// A Unix receiver whose queue holds as much as it takes; `filled` says how many that are.
struct full_receiver {
    full_receiver() : receiver(gyre::datagram::bind("unix:")), at(place_of(receiver)) {
        while (filler.try_sendto(test::bytes_of(numbered(filled)), at)) {
            ++filled;
        }
    }
    gyre::datagram receiver;
    gyre::endpoint at;
    gyre::datagram filler = gyre::datagram::bind("unix:");
    std::size_t filled = 0;
};

// Receives `count` messages and says how many of them were what `expected(index)` says, in order.
template <class Expected>
gyre::task<std::size_t>
receive_in_order(gyre::datagram& from, std::size_t first, std::size_t count, Expected expected) {
    std::size_t right = 0;
    std::array<std::byte, 64> buffer;
    for (std::size_t index = first; index < first + count; ++index) {
        gyre::endpoint sender;
        const auto received = co_await from.recvfrom(buffer, sender);
        if (!received) {
            break;
        }
        right += bytes_in(buffer, *received) == expected(index) ? 1U : 0U;
    }
    co_return right;
}

// A waiter that only counts: an operation can be started and destroyed without a task.
struct counting_waiter : gyre::detail::waiter {
    counting_waiter() noexcept
        : waiter([](waiter& base) noexcept { ++static_cast<counting_waiter&>(base).told; }) {}
    int told = 0;
};

// An operation on its own, as an awaiting frame would hold it, so that a test can destroy it.
template <class Description>
struct started {
    explicit started(Description&& from) : description(std::move(from)), awaiter(description) {
        gyre::detail::run_loop& loop = *gyre::detail::run_loop::current();
        CHECK(!awaiter.start({&loop, &stop, nullptr}, told));
    }
    gyre::detail::stop_state stop;
    counting_waiter told;
    Description description;
    gyre::detail::operation_awaiter<Description> awaiter;
};

} // namespace

TEST_SUITE_BEGIN("net/datagram");

// recvfrom

TEST_CASE("recvfrom, full: a message that fills its buffer, and who sent it") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto sender = gyre::datagram::bind(kind);
        auto receiver = gyre::datagram::bind(kind);
        const auto sent = co_await sender.sendto(test::bytes_of("exact"), place_of(receiver));
        REQUIRE(sent);
        CHECK(*sent == 5U);

        std::array<std::byte, 5> buffer{};
        gyre::endpoint from;
        const auto received = co_await receiver.recvfrom(buffer, from);

        REQUIRE(received);
        CHECK(received->stored() == 5U);
        CHECK(received->full() == 5U);
        CHECK(!received->truncated());
        CHECK(test::text_of(buffer) == "exact");
        CHECK(from == place_of(sender));
    });
}

TEST_CASE("recvfrom, short: each message comes alone, however large the buffer") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto sender = gyre::datagram::bind(kind);
        auto receiver = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        for (const std::string_view text : {"one", "", "three"}) {
            const auto sent = co_await sender.sendto(test::bytes_of(text), at);
            REQUIRE(sent);
            CHECK(*sent == text.size());
        }
        for (const std::string_view text : {"one", "", "three"}) {
            std::array<std::byte, 4096> buffer{};
            gyre::endpoint from;
            const auto received = co_await receiver.recvfrom(buffer, from);
            REQUIRE(received);
            CHECK(bytes_in(buffer, *received) == text);
            CHECK(!received->truncated());
            CHECK(from == place_of(sender));
        }
    });
}

TEST_CASE("a message longer than the buffer is reported with its full length, by every receive") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto sender = gyre::datagram::bind(kind);
        auto receiver = gyre::datagram::bind(kind);
        const std::string text(200, 'x');
        const gyre::endpoint at = place_of(receiver);
        for (int count = 0; count < 7; ++count) {
            const auto sent = co_await sender.sendto(test::bytes_of(text), at);
            REQUIRE(sent);
        }
        std::array<std::byte, 64> buffer;
        std::array<std::byte, 30> other;
        const std::array<gyre::mutable_buffer, 2> list{
            gyre::mutable_buffer(other), gyre::mutable_buffer(buffer)
        };
        gyre::endpoint from;
        gyre::control_buffer<> control;
        const auto cut = [](const gyre::result<gyre::message_size>& size, std::size_t stored) {
            REQUIRE(size);
            CHECK(size->stored() == stored);
            CHECK(size->full() == 200U);
            CHECK(size->truncated());
        };

        const auto named = co_await receiver.recvfrom(buffer, from);
        cut(named, 64);
        const auto plain = co_await receiver.recv(buffer);
        cut(plain, 64);
        const auto scattered = co_await receiver.recvfrom(list, from);
        cut(scattered, 94);
        const auto controlled = co_await receiver.recvmsg(buffer, from, control);
        cut(controlled, 64);
        co_await until_there(receiver);
        cut(receiver.try_recvfrom(buffer, from), 64);
        co_await until_there(receiver);
        cut(receiver.try_recv(other), 30);
        co_await until_there(receiver);
        cut(receiver.try_recvmsg(buffer, from, control), 64);
        CHECK(receiver.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("an empty message is a message and no end, by every receive") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto sender = gyre::datagram::bind(kind);
        auto receiver = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        for (int count = 0; count < 3; ++count) {
            const auto sent = co_await sender.sendto(test::bytes_of(""), at);
            REQUIRE(sent);
            CHECK(*sent == 0U);
        }
        CHECK(sender.try_sendto({}, at).value() == 0U);
        const auto last = co_await sender.sendto(test::bytes_of("last"), at);
        REQUIRE(last);

        std::array<std::byte, 16> buffer;
        gyre::endpoint from;
        const auto first = co_await receiver.recvfrom(buffer, from);
        REQUIRE(first);
        CHECK(first->full() == 0U);
        CHECK(from == place_of(sender));
        const auto second = co_await receiver.recv(buffer);
        REQUIRE(second);
        CHECK(second->full() == 0U);
        co_await until_there(receiver);
        const auto third = receiver.try_recv(buffer);
        REQUIRE(third);
        CHECK(third->full() == 0U);
        const auto fourth = co_await receiver.recv(buffer);
        REQUIRE(fourth);
        CHECK(fourth->full() == 0U);
        const auto fifth = co_await receiver.recv(buffer);
        REQUIRE(fifth);
        CHECK(bytes_in(buffer, *fifth) == "last");
    });
}

TEST_CASE("a receive into nothing takes the message and tells its size") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto sender = gyre::datagram::bind(kind);
        auto receiver = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        for (int count = 0; count < 3; ++count) {
            const auto sent = co_await sender.sendto(test::bytes_of("hello"), at);
            REQUIRE(sent);
        }
        gyre::endpoint from;
        const auto peeked = co_await receiver.recvfrom(std::span<std::byte>(), from, MSG_PEEK);
        const auto named = co_await receiver.recvfrom(std::span<std::byte>(), from);
        const auto plain = co_await receiver.recv(std::span<std::byte>());
        co_await until_there(receiver);
        const auto now = receiver.try_recv({});
        for (const auto& size : {peeked, named, plain, now}) {
            REQUIRE(size);
            CHECK(size->stored() == 0U);
            CHECK(size->full() == 5U);
            CHECK(size->truncated());
        }
        CHECK(receiver.try_recv({}).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("recvfrom, peer error: ECONNREFUSED is told once, and the socket goes on") {
    for (const std::string kind : {"127.0.0.1:0", "[::1]:0"}) {
        std::optional<gyre::datagram> probe;
        if (auto bound = gyre::datagram::try_bind(kind)) {
            probe.emplace(*std::move(bound));
        } else {
            test::skip("this machine has no IPv6");
            continue;
        }
        test::on_every_engine([&]() -> gyre::task<> {
            auto gone = std::make_optional(gyre::datagram::bind(kind));
            const gyre::endpoint at = place_of(*gone);
            gone.reset();
            auto socket = gyre::datagram::bind(kind);
            REQUIRE(socket.connect(at));
            std::array<std::byte, 16> buffer;

            // The answer of ICMP comes while the receive waits.
            std::optional<gyre::result<gyre::message_size>> refused;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    gyre::endpoint from;
                    auto received = co_await socket.recvfrom(buffer, from);
                    refused.emplace(received);
                });
                co_await until_in_flight(1);
                const auto sent = co_await socket.send(test::bytes_of("anybody?"));
                CHECK(sent);
            };
            co_await gyre::with_scope(body);
            REQUIRE(refused.has_value());
            CHECK(refused->error() == gyre::errno_code(ECONNREFUSED));
            CHECK(socket.try_recv(buffer).error() == gyre::errno_code(EAGAIN));

            // And before it begins.
            CHECK(socket.try_send(test::bytes_of("anybody?")));
            const auto later = co_await socket.recv(buffer);
            CHECK(later.error() == gyre::errno_code(ECONNREFUSED));

            auto back = gyre::datagram::bind(at);
            const auto sent = co_await socket.send(test::bytes_of("hello"));
            CHECK(sent);
            gyre::endpoint from;
            const auto received = co_await back.recvfrom(buffer, from);
            REQUIRE(received);
            CHECK(bytes_in(buffer, *received) == "hello");
            CHECK(from == place_of(socket));
        });
    }
}

TEST_CASE("recvfrom, stop before submission: it is refused and takes no message") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        REQUIRE(sender.try_sendto(test::bytes_of("kept"), place_of(receiver)));
        std::array<std::byte, 16> buffer{};
        gyre::endpoint from;
        std::optional<gyre::result<gyre::message_size>> refused;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            auto received = co_await receiver.recvfrom(buffer, from);
            refused.emplace(received);
        };
        co_await gyre::with_scope(body);
        REQUIRE(refused.has_value());
        CHECK(refused->error() == gyre::errno_code(ECANCELED));
        const auto received = co_await receiver.recvfrom(buffer, from);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "kept");
    });
}

TEST_CASE("recvfrom, stop in flight: the memory is free when the task resumes, no message is lost"
) {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        std::optional<gyre::result<gyre::message_size>> outcome;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                auto buffer = std::make_unique<std::array<std::byte, 64>>();
                auto from = std::make_unique<gyre::endpoint>();
                auto received = co_await receiver.recvfrom(*buffer, *from);
                buffer.reset();
                from.reset();
                outcome.emplace(received);
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        REQUIRE(outcome.has_value());
        CHECK(outcome->error() == gyre::errno_code(ECANCELED));

        const auto sent = co_await sender.sendto(test::bytes_of("after"), place_of(receiver));
        CHECK(sent);
        std::array<std::byte, 64> buffer{};
        const auto received = co_await receiver.recv(buffer);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "after");
    });
}

TEST_CASE("recvfrom, stop after completion: the message is the result, the stop stays visible") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        REQUIRE(sender.try_sendto(test::bytes_of("won"), place_of(receiver)));
        std::array<std::byte, 16> buffer{};
        gyre::endpoint from;
        std::optional<gyre::result<gyre::message_size>> outcome;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                auto received = co_await receiver.recvfrom(buffer, from);
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
        CHECK(bytes_in(buffer, **outcome) == "won");
        CHECK(from == place_of(sender));
        CHECK(saw_stop);
    });
}

TEST_CASE("recvfrom, submission queue full: more receives than entries all complete") {
    test::on_every_engine(tiny_submission_queue, []() -> gyre::task<> {
        co_await receive_on_many();
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("recvfrom, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        co_await receive_on_many();
        CHECK(gyre::scheduler::current().counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("recvfrom, destroyed while idle: a receive that nobody awaits takes no message") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        REQUIRE(sender.try_sendto(test::bytes_of("kept"), place_of(receiver)));
        std::array<std::byte, 16> buffer{};
        gyre::endpoint from;
        {
            const auto unused = receiver.recvfrom(buffer, from);
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        CHECK(buffer[0] == std::byte{0});
        const auto received = co_await receiver.recvfrom(buffer, from);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "kept");
    });
}

TEST_CASE("a receive destroyed in flight ends first, so its memory is free to use") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("127.0.0.1:0");
        {
            auto buffer = std::make_unique<std::array<std::byte, 4096>>();
            gyre::endpoint from;
            started forgotten(receiver.recvfrom(*buffer, from));
            co_await until_in_flight(1);
        }
        CHECK(gyre::scheduler::current().counters().forced_drains == 1);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
    });
}

TEST_CASE("a send that waits for a full Unix receiver does not spin") {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        auto connected = gyre::datagram::unbound(gyre::address_family::unix_domain);
        REQUIRE(connected.connect(full.at));
        auto other = gyre::datagram::unbound(gyre::address_family::unix_domain);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await connected.send(test::bytes_of("x"));
                CHECK(sent.error() == gyre::errno_code(ECANCELED));
            });
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await other.sendto(test::bytes_of("x"), full.at);
                CHECK(sent.error() == gyre::errno_code(ECANCELED));
            });
            co_await until_in_flight(2);
            const auto before = gyre::scheduler::current().counters();
            const auto waited = co_await gyre::sleep_for(50ms);
            CHECK(waited);
            const auto after = gyre::scheduler::current().counters();
            // Rests of 1, 2, 4, 8, 16, 32 ms, and a try after each; on a slow machine fewer.
            CHECK(after.submissions - before.submissions < 40U);
            CHECK(after.turns - before.turns < 60U);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a send that waits for a full Unix receiver can be destroyed in any phase") {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        auto connected = gyre::datagram::unbound(gyre::address_family::unix_domain);
        REQUIRE(connected.connect(full.at));
        auto other = gyre::datagram::unbound(gyre::address_family::unix_domain);
        for (int turns = 0; turns < 6; ++turns) {
            const std::string text(100, 'x');
            started one(connected.send(test::bytes_of(text)));
            started two(other.sendto(test::bytes_of(text), full.at));
            for (int turn = 0; turn < turns; ++turn) {
                co_await gyre::yield();
            }
            CHECK(one.told.told == 0);
            CHECK(two.told.told == 0);
        }
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
        const auto right = co_await receive_in_order(full.receiver, 0, full.filled, numbered);
        CHECK(right == full.filled);
        std::array<std::byte, 64> buffer;
        CHECK(full.receiver.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("a message that was received and that nobody took has its descriptors closed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::datagram::pair();
        const auto before = test::open_descriptors();
        const std::array<int, 2> passed{pair.first.native_handle(), pair.second.native_handle()};
        gyre::control_message<> message;
        REQUIRE(message.add_descriptors(passed));
        {
            std::array<std::byte, 16> buffer;
            gyre::endpoint from;
            gyre::control_buffer<> control;
            started forgotten(pair.second.recvmsg(buffer, from, control));
            CHECK(pair.first.try_sendmsg(test::bytes_of("x"), gyre::endpoint(), message));
            while (forgotten.told.told == 0) {
                co_await gyre::yield();
            }
            CHECK(test::open_descriptors() == before + 2);
        }
        CHECK(gyre::scheduler::current().counters().reclaimed == 1U);
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("a receive stopped at any moment yields its message or leaves it in the socket") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        constexpr std::size_t rounds = 300;
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        std::size_t next = 0; // The number that is to come.
        bool in_order = true;
        const auto take = [&](std::string_view text) { in_order &= text == numbered(next++); };
        for (std::size_t round = 0; round < rounds; ++round) {
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    std::array<std::byte, 64> buffer;
                    gyre::endpoint from;
                    const auto received = co_await receiver.recvfrom(buffer, from);
                    if (received) {
                        take(bytes_in(buffer, *received));
                        CHECK(from == place_of(sender));
                    }
                });
                for (std::size_t turn = 0; turn < round % 4; ++turn) {
                    co_await gyre::yield();
                }
                CHECK(sender.try_sendto(test::bytes_of(numbered(round)), at));
                for (std::size_t turn = 0; turn < round % 3; ++turn) {
                    co_await gyre::yield();
                }
                scope.cancel();
            };
            co_await gyre::with_scope(body);
            while (next <= round) { // It is in the socket, or about to come.
                std::array<std::byte, 64> rest;
                const auto left = co_await receiver.recv(rest);
                REQUIRE(left);
                take(bytes_in(rest, *left));
            }
        }
        CHECK(in_order);
        CHECK(receiver.try_recv({}).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("a send to a full Unix receiver, stopped at any moment, arrives exactly if it says so") {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        std::vector<std::string> expected;
        for (std::size_t index = 0; index < full.filled; ++index) {
            expected.push_back(numbered(index));
        }
        std::size_t place = 0;
        std::size_t sent_count = 0;
        auto connected = gyre::datagram::unbound(gyre::address_family::unix_domain);
        REQUIRE(connected.connect(full.at));
        auto other = gyre::datagram::unbound(gyre::address_family::unix_domain);
        const auto receive_one = [&]() {
            std::array<std::byte, 64> buffer;
            const auto received = full.receiver.try_recv(buffer);
            REQUIRE(received);
            REQUIRE(place < expected.size());
            CHECK(bytes_in(buffer, *received) == expected[place++]);
        };
        for (std::size_t round = 0; round < 300; ++round) {
            const std::string text = "round " + std::to_string(round);
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const bool connects = round % 2 == 0;
                    const gyre::endpoint nobody;
                    const gyre::control_message<> nothing;
                    gyre::datagram& sender = connects ? connected : other;
                    const auto sent = co_await sender.sendmsg(
                        test::bytes_of(text), connects ? nobody : full.at, nothing
                    );
                    if (sent) {
                        CHECK(*sent == text.size());
                        expected.push_back(text);
                        ++sent_count;
                    } else {
                        CHECK(sent.error() == gyre::errno_code(ECANCELED));
                    }
                });
                for (std::size_t turn = 0; turn < round % 5; ++turn) {
                    co_await gyre::yield();
                }
                if (round % 7 < 5 && place < expected.size()) {
                    receive_one(); // Room for one.
                }
                for (std::size_t turn = 0; turn < round % 3; ++turn) {
                    co_await gyre::yield();
                }
                if (round % 11 == 0) {
                    const auto waited = co_await gyre::sleep_for(2ms); // It rests, and tries.
                    CHECK(waited);
                }
                scope.cancel();
            };
            co_await gyre::with_scope(body);
        }
        while (place < expected.size()) {
            receive_one();
        }
        std::array<std::byte, 64> buffer;
        CHECK(full.receiver.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
        CHECK(sent_count > 0U);
    });
}

TEST_CASE("a limit ends a receive, and a message that beats its limit is the result") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        std::array<std::byte, 16> buffer;
        gyre::endpoint from;
        const auto late = co_await gyre::with_timeout(receiver.recvfrom(buffer, from), 5ms);
        CHECK(late.error() == gyre::errc::timed_out);
        REQUIRE(sender.try_sendto(test::bytes_of("now"), place_of(receiver)));
        const auto there = co_await gyre::with_timeout(receiver.recvfrom(buffer, from), 1h);
        REQUIRE(there);
        CHECK(bytes_in(buffer, *there) == "now");
    });
}

TEST_CASE("recvfrom scatters over its buffers in order") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        const std::array<gyre::const_buffer, 3> parts{
            test::bytes_of("one "), test::bytes_of(""), test::bytes_of("message")
        };
        const auto sent = co_await sender.sendto(parts, place_of(receiver));
        REQUIRE(sent);
        CHECK(*sent == 11U);

        std::array<std::byte, 4> head{};
        std::array<std::byte, 32> body{};
        const std::array<gyre::mutable_buffer, 2> list{
            gyre::mutable_buffer(head), gyre::mutable_buffer(body)
        };
        gyre::endpoint from;
        const auto received = co_await receiver.recvfrom(list, from);
        REQUIRE(received);
        CHECK(received->stored() == 11U);
        CHECK(test::text_of(head) == "one ");
        CHECK(test::text_of(std::span(body).first(7)) == "message");
        CHECK(from == place_of(sender));
    });
}

TEST_CASE("a receive with MSG_DONTWAIT or a try yields EAGAIN instead of waiting") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        std::array<std::byte, 16> buffer;
        gyre::endpoint from;
        const auto named = co_await receiver.recvfrom(buffer, from, MSG_DONTWAIT);
        CHECK(named.error() == gyre::errno_code(EAGAIN));
        const auto plain = co_await receiver.recv(buffer, MSG_DONTWAIT);
        CHECK(plain.error() == gyre::errno_code(EAGAIN));
        CHECK(receiver.try_recvfrom(buffer, from).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("a Unix sender without a name is an unspecified endpoint") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("unix:");
        auto sender = gyre::datagram::unbound(gyre::address_family::unix_domain);
        REQUIRE(sender.try_sendto(test::bytes_of("x"), place_of(receiver)));
        std::array<std::byte, 16> buffer;
        gyre::endpoint from = "127.0.0.1:1";
        const auto received = co_await receiver.recvfrom(buffer, from);
        REQUIRE(received);
        CHECK(from.size() == 0U);
        CHECK(from.is_unspecified());
    });
}

TEST_CASE("closing ends a receive in flight with ECANCELED") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 16> buffer;
                gyre::endpoint from;
                const auto received = co_await receiver.recvfrom(buffer, from);
                seen = received.error();
            });
            co_await until_in_flight(1);
            const auto closed = co_await receiver.close();
            CHECK(closed);
            const auto again = co_await receiver.close();
            CHECK(again.error() == gyre::errno_code(EBADF));
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        CHECK(!receiver.is_open());
    });
}

// sendto

TEST_CASE("sendto, full: one call is one message, from one buffer or several, named or connected") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        const std::array<gyre::const_buffer, 2> parts{
            test::bytes_of("two "), test::bytes_of("parts")
        };
        const gyre::control_message<> nothing;

        const auto one = co_await sender.sendto(test::bytes_of("1"), at);
        CHECK(one.value() == 1U);
        const auto two = co_await sender.sendto(parts, at);
        CHECK(two.value() == 9U);
        const auto three = co_await sender.sendmsg(test::bytes_of("3"), at, nothing);
        CHECK(three.value() == 1U);
        REQUIRE(sender.connect(at));
        const auto four = co_await sender.send(test::bytes_of("4"));
        CHECK(four.value() == 1U);
        const auto five = co_await sender.send(parts);
        CHECK(five.value() == 9U);
        const auto six = co_await sender.sendmsg(parts, gyre::endpoint(), nothing);
        CHECK(six.value() == 9U);
        CHECK(sender.try_send(test::bytes_of("7")).value() == 1U);

        for (const std::string_view text :
             {"1", "two parts", "3", "4", "two parts", "two parts", "7"}) {
            std::array<std::byte, 32> buffer;
            const auto received = co_await receiver.recv(buffer);
            REQUIRE(received);
            CHECK(bytes_in(buffer, *received) == text);
        }
    });
}

TEST_CASE("sendto, short: a message that is too large is EMSGSIZE, and nothing of it is sent") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        const std::vector<std::byte> large(8 << 20);

        const auto sent = co_await sender.sendto(large, at);
        CHECK(sent.error() == gyre::errno_code(EMSGSIZE));
        CHECK(sender.try_sendto(large, at).error() == gyre::errno_code(EMSGSIZE));
        const auto small = co_await sender.sendto(test::bytes_of("small"), at);
        CHECK(small);
        std::array<std::byte, 32> buffer;
        const auto received = co_await receiver.recv(buffer);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "small");
    });
}

TEST_CASE("sendto, peer error: a Unix name that nobody is bound to, and no SIGPIPE") {
    const auto before = std::signal(SIGPIPE, SIG_DFL);
    test::on_every_engine([]() -> gyre::task<> {
        auto gone = std::make_optional(gyre::datagram::bind("unix:"));
        const gyre::endpoint at = place_of(*gone);
        auto sender = gyre::datagram::unbound(gyre::address_family::unix_domain);
        REQUIRE(sender.connect(at));
        gone.reset();

        const auto named = co_await sender.sendto(test::bytes_of("x"), at);
        CHECK(named.error() == gyre::errno_code(ECONNREFUSED));
        const auto connected = co_await sender.send(test::bytes_of("x"));
        CHECK(connected.error() == gyre::errno_code(ECONNREFUSED));
        const auto nowhere = co_await sender.sendto(test::bytes_of("x"), "unix:/nowhere/at/all");
        CHECK(nowhere.error() == gyre::errno_code(ENOENT));
    });
    std::signal(SIGPIPE, before);
}

TEST_CASE("a send of a socket that is not connected has nobody to send to") {
    test::on_every_engine([]() -> gyre::task<> {
        auto udp = gyre::datagram::unbound(gyre::address_family::ipv4);
        const auto sent = co_await udp.send(test::bytes_of("x"));
        CHECK(sent.error() == gyre::errno_code(EDESTADDRREQ));
        CHECK(udp.peer_endpoint().error() == gyre::errno_code(ENOTCONN));
        auto local = gyre::datagram::unbound(gyre::address_family::unix_domain);
        const auto lost = co_await local.send(test::bytes_of("x"));
        CHECK(lost.error() == gyre::errno_code(ENOTCONN));
        const auto port_0 = co_await udp.sendto(test::bytes_of("x"), "127.0.0.1:0");
        CHECK(port_0.error() == gyre::errno_code(EINVAL));
        const auto foreign = co_await local.sendto(test::bytes_of("x"), "127.0.0.1:1");
        CHECK(foreign.error() == gyre::errno_code(EINVAL));
    });
}

TEST_CASE("sendto, stop before submission: it is refused and sends nothing") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        std::error_code refused;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto sent = co_await sender.sendto(test::bytes_of("x"), place_of(receiver));
            refused = sent.error();
        };
        co_await gyre::with_scope(body);
        CHECK(refused == gyre::errno_code(ECANCELED));
        std::array<std::byte, 16> buffer;
        CHECK(receiver.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("sendto, stop in flight: one that waits for room at its receiver ends and sends nothing"
) {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        auto sender = gyre::datagram::bind("unix:");
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await sender.sendto(test::bytes_of("never"), full.at);
                seen = sent.error();
            });
            co_await until_in_flight(1);
            const auto waited = co_await gyre::sleep_for(3ms); // It tries again in between.
            CHECK(waited);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));

        const auto right = co_await receive_in_order(full.receiver, 0, full.filled, numbered);
        CHECK(right == full.filled);
        std::array<std::byte, 64> buffer;
        CHECK(full.receiver.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("sendto, stop after completion: the count is the result, the stop stays visible") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        std::optional<gyre::result<std::size_t>> outcome;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                const gyre::endpoint at = place_of(receiver);
                auto sent = co_await sender.sendto(test::bytes_of("sent"), at);
                outcome.emplace(sent);
                saw_stop = gyre::this_task::canceled();
            });
            co_await until_completed(before);
            CHECK(!outcome.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        REQUIRE(outcome.has_value());
        CHECK(outcome->value_or(0) == 4U);
        CHECK(saw_stop);
    });
}

TEST_CASE("sendto, submission queue full: more sends than entries all complete") {
    test::on_every_engine(tiny_submission_queue, []() -> gyre::task<> {
        co_await send_on_many();
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("sendto, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        co_await send_on_many();
        CHECK(gyre::scheduler::current().counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("sendto, destroyed while idle: a send that nobody awaits sends nothing") {
    on_every_kind([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        {
            const auto unused = sender.sendto(test::bytes_of("never"), at);
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        std::array<std::byte, 16> buffer;
        CHECK(receiver.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("on a kernel whose sends take no address, sendto works all the same") {
    gyre::scheduler_options options;
    options.disable.insert(gyre::feature::send_address);
    on_every_kind(options, [](gyre::endpoint kind) -> gyre::task<> {
        CHECK(!gyre::scheduler::current().report().features.contains(gyre::feature::send_address));
        auto receiver = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        const gyre::endpoint at = place_of(receiver);
        const auto sent = co_await sender.sendto(test::bytes_of("header"), at);
        REQUIRE(sent);
        CHECK(*sent == 6U);
        std::array<std::byte, 16> buffer;
        const auto received = co_await receiver.recv(buffer);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "header");
    });
}

TEST_CASE("a send on a socket that is closed is EBADF") {
    test::on_every_engine([]() -> gyre::task<> {
        auto socket = gyre::datagram::bind("127.0.0.1:0");
        const auto closed = co_await socket.close();
        CHECK(closed);
        const auto bad = gyre::errno_code(EBADF);
        std::array<std::byte, 4> buffer;
        gyre::endpoint from;
        const auto received = co_await socket.recvfrom(buffer, from);
        CHECK(received.error() == bad);
        const auto sent = co_await socket.sendto(buffer, "127.0.0.1:1");
        CHECK(sent.error() == bad);
        CHECK(socket.try_recv(buffer).error() == bad);
        CHECK(socket.try_send(buffer).error() == bad);
        CHECK(socket.connect("127.0.0.1:1").error() == bad);
        CHECK(socket.disconnect().error() == bad);
        CHECK(socket.peer_endpoint().error() == bad);
        CHECK(socket.join({.group = "224.0.0.1:0"}).error() == bad);
    });
}

// A full Unix receiver

TEST_CASE("a sender that is faster than its Unix receiver loses nothing, and keeps the order") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr std::size_t count = 300;
        auto receiver = gyre::datagram::bind("unix:");
        const gyre::endpoint at = place_of(receiver);
        std::size_t right = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                auto sender = gyre::datagram::bind("unix:");
                for (std::size_t index = 0; index < count; ++index) {
                    const auto text = numbered(index);
                    const auto sent = co_await sender.sendto(test::bytes_of(text), at);
                    CHECK(sent.value() == text.size());
                }
            });
            // The queue is full before the first is received.
            const auto waited = co_await gyre::sleep_for(5ms);
            CHECK(waited);
            right = co_await receive_in_order(receiver, 0, count, numbered);
        };
        co_await gyre::with_scope(body);
        CHECK(right == count);
        std::array<std::byte, 64> buffer;
        CHECK(receiver.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("a connected sender is woken as soon as its Unix receiver has room") {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        auto sender = gyre::datagram::bind("unix:");
        REQUIRE(sender.connect(full.at));
        constexpr std::size_t count = 200;
        std::size_t right = 0;
        const auto text_of = [](std::size_t index) { return "later " + std::to_string(index); };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                for (std::size_t index = 0; index < count; ++index) {
                    const auto text = text_of(index);
                    const auto sent = co_await sender.send(test::bytes_of(text));
                    CHECK(sent.value() == text.size());
                }
            });
            co_await until_in_flight(1);
            const auto first = co_await receive_in_order(full.receiver, 0, full.filled, numbered);
            CHECK(first == full.filled);
            right = co_await receive_in_order(full.receiver, 0, count, text_of);
        };
        co_await gyre::with_scope(body);
        CHECK(right == count);
    });
}

TEST_CASE("an engine says what its sends can do, and a send works round the rest") {
    for (const bool waits : {true, false}) {
        for (const bool takes_address : {true, false}) {
            auto owned = std::make_unique<test::scripted_engine>();
            test::scripted_engine& engine = *owned;
            engine.set_sends({.wait_for_receiver = waits, .take_address = takes_address});
            gyre::detail::run_loop loop(std::move(owned));
            const gyre::endpoint at("unix:@nobody");
            // A try that finds no room, the wait, and the try that succeeds.
            engine.when_taken = [&](const gyre::detail::submission& entry) {
                const bool is_try = entry.opcode == gyre::detail::uapi::op_send ||
                                    entry.opcode == gyre::detail::uapi::op_sendmsg;
                engine.complete(
                    entry.user_data,
                    !is_try                    ? -ETIME
                    : engine.taken.size() == 1 ? -EAGAIN
                                               : 4
                );
            };
            bool over = false;
            gyre::detail::spawn_into(gyre::detail::root_of(loop), [&]() -> gyre::task<> {
                auto sender = gyre::datagram::unbound(gyre::address_family::unix_domain);
                const auto sent = co_await sender.sendto(test::bytes_of("word"), at);
                CHECK(sent.value() == 4);
                over = true;
            });
            while (!over) {
                loop.step(true);
            }
            CHECK(loop.shut_down(0));
            REQUIRE(engine.taken.size() == (waits ? 2 : 3));
            CHECK(
                engine.taken.front().opcode ==
                (takes_address ? gyre::detail::uapi::op_send : gyre::detail::uapi::op_sendmsg)
            );
            CHECK(((engine.taken.front().operation_flags & MSG_DONTWAIT) == 0) == waits);
            if (!waits) {
                CHECK(engine.taken[1].opcode == gyre::detail::uapi::op_timeout);
            }
        }
    }
}

TEST_CASE("a gathered message for a full Unix receiver arrives whole as well") {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        auto sender = gyre::datagram::bind("unix:");
        const std::array<gyre::const_buffer, 2> parts{
            test::bytes_of("two "), test::bytes_of("parts")
        };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await sender.sendto(parts, full.at);
                CHECK(sent.value() == 9U);
            });
            co_await until_in_flight(1);
            const auto right = co_await receive_in_order(full.receiver, 0, full.filled, numbered);
            CHECK(right == full.filled);
            const auto last = co_await receive_in_order(full.receiver, 0, 1, [](std::size_t) {
                return std::string("two parts");
            });
            CHECK(last == 1U);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("several senders to one full Unix receiver all get through, and nothing is lost") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr std::size_t senders = 6;
        constexpr std::size_t each = 40;
        full_receiver full;
        std::array<std::size_t, senders> next{};
        bool in_order = true;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (std::size_t index = 0; index < senders; ++index) {
                scope.spawn([&, index]() -> gyre::task<> {
                    auto sender = gyre::datagram::unbound(gyre::address_family::unix_domain);
                    const bool connects = index % 2 == 0;
                    if (connects) {
                        CHECK(sender.connect(full.at));
                    }
                    for (std::uint8_t number = 0; number < each; ++number) {
                        const std::array<std::byte, 2> mark{
                            static_cast<std::byte>(index), static_cast<std::byte>(number)
                        };
                        if (connects) {
                            const auto sent = co_await sender.send(mark);
                            CHECK(sent.value() == 2U);
                        } else {
                            const auto sent = co_await sender.sendto(mark, full.at);
                            CHECK(sent.value() == 2U);
                        }
                    }
                });
            }
            co_await until_in_flight(senders);
            const auto first = co_await receive_in_order(full.receiver, 0, full.filled, numbered);
            CHECK(first == full.filled);
            for (std::size_t count = 0; count < senders * each; ++count) {
                std::array<std::byte, 8> mark{};
                const auto received = co_await full.receiver.recv(mark);
                REQUIRE(received);
                REQUIRE(received->full() == 2U);
                const auto from = std::to_integer<std::size_t>(mark[0]);
                REQUIRE(from < senders);
                in_order = in_order && std::to_integer<std::size_t>(mark[1]) == next[from]++;
            }
        };
        co_await gyre::with_scope(body);
        CHECK(in_order);
    });
}

TEST_CASE("a send that waits for a full Unix receiver ends when that is closed") {
    test::on_every_engine([]() -> gyre::task<> {
        std::optional<full_receiver> full;
        full.emplace();
        auto connected = gyre::datagram::unbound(gyre::address_family::unix_domain);
        REQUIRE(connected.connect(full->at));
        auto other = gyre::datagram::unbound(gyre::address_family::unix_domain);
        const gyre::endpoint at = full->at;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await connected.send(test::bytes_of("x"));
                CHECK(sent.error() == gyre::errno_code(ECONNREFUSED));
            });
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await other.sendto(test::bytes_of("x"), at);
                CHECK(sent.error() == gyre::errno_code(ECONNREFUSED));
            });
            co_await until_in_flight(2);
            full.reset();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("closing ends a send that waits for a full Unix receiver") {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        for (const bool connects : {true, false}) {
            auto sender = gyre::datagram::unbound(gyre::address_family::unix_domain);
            if (connects) {
                REQUIRE(sender.connect(full.at));
            }
            std::error_code seen;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const gyre::endpoint nobody;
                    const gyre::control_message<> nothing;
                    const auto sent = co_await sender.sendmsg(
                        test::bytes_of("x"), connects ? nobody : full.at, nothing
                    );
                    seen = sent.error();
                });
                co_await until_in_flight(1);
                const auto waited = co_await gyre::sleep_for(2ms);
                CHECK(waited);
                const auto closed = co_await sender.close();
                CHECK(closed);
            };
            co_await gyre::with_scope(body);
            CHECK(seen == gyre::errno_code(ECANCELED));
        }
    });
}

TEST_CASE("a send with MSG_DONTWAIT, or a try, to a full Unix receiver is EAGAIN") {
    test::on_every_engine([]() -> gyre::task<> {
        full_receiver full;
        auto sender = gyre::datagram::bind("unix:");
        const auto sent = co_await sender.sendto(test::bytes_of("x"), full.at, MSG_DONTWAIT);
        CHECK(sent.error() == gyre::errno_code(EAGAIN));
        CHECK(sender.try_sendto(test::bytes_of("x"), full.at).error() == gyre::errno_code(EAGAIN));
    });
}

// Making one, connecting

TEST_CASE("a datagram is bound where it was told, close-on-exec") {
    const auto some = gyre::datagram::bind("127.0.0.1:0");
    const gyre::endpoint at = place_of(some);
    CHECK(at.port() != 0);
    CHECK(at.is_loopback());
    CHECK((::fcntl(some.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(some.native_handle(), F_GETFL) & O_NONBLOCK) == 0);

    const auto taken = gyre::datagram::try_bind(at);
    CHECK(taken.error() == gyre::errno_code(EADDRINUSE));
    CHECK(gyre::datagram::try_bind("192.0.2.77:0").error() == gyre::errno_code(EADDRNOTAVAIL));
    CHECK(gyre::datagram::try_bind(gyre::endpoint()).error() == gyre::errno_code(EINVAL));
    CHECK(
        gyre::datagram::try_unbound(gyre::address_family::unspecified).error() ==
        gyre::errno_code(EINVAL)
    );
    std::string text;
    try {
        static_cast<void>(gyre::datagram::bind(at));
    } catch (const std::system_error& error) {
        text = error.what();
    }
    CHECK(text.find("datagram::bind " + at.to_string() + ": EADDRINUSE: ") == 0);
}

TEST_CASE("options of bind are set before it binds") {
    const gyre::datagram_options shared{.reuse_port = true, .broadcast = true};
    const auto one = gyre::datagram::bind("127.0.0.1:0", shared);
    const auto other = gyre::datagram::bind(place_of(one), shared);
    CHECK(other.option<gyre::reuse_port>().value());
    CHECK(other.option<gyre::broadcast>().value());
    CHECK(!other.option<gyre::reuse_address>().value());
    const gyre::datagram_options again{.reuse_address = true};
    const auto third = gyre::datagram::bind("127.0.0.1:0", again);
    CHECK(gyre::datagram::try_bind(place_of(third), again));
    if (const auto six = gyre::datagram::try_bind("[::]:0", {.v6_only = true})) {
        CHECK(six->option<gyre::v6_only>().value());
        CHECK(!gyre::datagram::bind("[::]:0", {.v6_only = false}).option<gyre::v6_only>().value());
    }
}

TEST_CASE("a pair talks both ways, and sends to an end that is gone are refused") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = std::make_optional(gyre::datagram::pair());
        const auto there = co_await pair->first.send(test::bytes_of("there"));
        CHECK(there);
        const auto back = co_await pair->second.send(test::bytes_of("back"));
        CHECK(back);
        std::array<std::byte, 16> buffer;
        const auto received = co_await pair->second.recv(buffer);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "there");
        gyre::endpoint from;
        const auto answer = co_await pair->first.recvfrom(buffer, from);
        REQUIRE(answer);
        CHECK(bytes_in(buffer, *answer) == "back");

        // Its peer disconnects with a message unread, and then is gone.
        const auto unread = co_await pair->first.send(test::bytes_of("unread"));
        CHECK(unread);
        CHECK(pair->second.disconnect());
        const auto reset = co_await pair->first.recv(buffer);
        CHECK(reset.error() == gyre::errno_code(ECONNRESET));
        const auto closed = co_await pair->second.close();
        CHECK(closed);
        const auto refused = co_await pair->first.send(test::bytes_of("x"));
        CHECK(refused.error() == gyre::errno_code(ECONNREFUSED));
        CHECK(pair->first.try_recv(buffer).error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("a descriptor that is adopted works, blocking or not") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const int mode : {0, static_cast<int>(SOCK_NONBLOCK)}) {
            for (const int family : {AF_INET, AF_UNIX}) {
                auto socket = gyre::datagram::adopt(::socket(family, SOCK_DGRAM | mode, 0));
                REQUIRE(socket.is_open());
                auto receiver = gyre::datagram::bind(family == AF_INET ? "127.0.0.1:0" : "unix:");
                const auto sent = co_await socket.sendto(test::bytes_of("x"), place_of(receiver));
                CHECK(sent);
                std::array<std::byte, 4> buffer;
                const auto received = co_await receiver.recv(buffer);
                CHECK(received);
            }
        }
        // What is adopted is known to be a Unix socket.
        full_receiver full;
        auto adopted = gyre::datagram::adopt(::socket(AF_UNIX, SOCK_DGRAM, 0));
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await adopted.sendto(test::bytes_of("kept"), full.at);
                CHECK(sent.value() == 4U);
            });
            co_await until_in_flight(1);
            const auto right = co_await receive_in_order(full.receiver, 0, full.filled, numbered);
            CHECK(right == full.filled);
            std::array<std::byte, 16> buffer;
            const auto received = co_await full.receiver.recv(buffer);
            REQUIRE(received);
            CHECK(bytes_in(buffer, *received) == "kept");
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("connect filters by the peer, disconnect undoes it") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const std::string& kind : kinds()) {
            INFO("bound to ", kind);
            auto socket = gyre::datagram::bind(kind);
            auto peer = gyre::datagram::bind(kind);
            auto stranger = gyre::datagram::bind(kind);
            const gyre::endpoint at = place_of(socket);
            std::array<std::byte, 16> buffer;

            REQUIRE(socket.connect(place_of(peer)));
            CHECK(socket.peer_endpoint().value() == place_of(peer));
            // A Unix stranger is told, one of UDP is not.
            const auto strange = stranger.try_sendto(test::bytes_of("strange"), at);
            CHECK((strange || strange.error() == gyre::errno_code(EPERM)));
            CHECK(peer.try_sendto(test::bytes_of("known"), at));
            const auto known = co_await socket.recv(buffer);
            REQUIRE(known);
            CHECK(bytes_in(buffer, *known) == "known");
            CHECK(socket.try_recv(buffer).error() == gyre::errno_code(EAGAIN));

            REQUIRE(socket.disconnect());
            CHECK(socket.peer_endpoint().error() == gyre::errno_code(ENOTCONN));
            CHECK(place_of(socket) == at); // The port too, which the kernel had chosen.
            CHECK(stranger.try_sendto(test::bytes_of("strange"), at));
            const auto anybody = co_await socket.recv(buffer);
            REQUIRE(anybody);
            CHECK(bytes_in(buffer, *anybody) == "strange");
            REQUIRE(socket.disconnect()); // Nothing to undo.
            CHECK(place_of(socket) == at);

            REQUIRE(socket.connect(place_of(peer)));
            REQUIRE(socket.connect(place_of(stranger)));
            const auto sent = co_await socket.send(test::bytes_of("you"));
            CHECK(sent);
            const auto got = co_await stranger.recv(buffer);
            REQUIRE(got);
            CHECK(bytes_in(buffer, *got) == "you");
        }
    });
}

TEST_CASE("disconnect leaves a socket that was bound to every address bound to every address") {
    auto socket = gyre::datagram::bind("0.0.0.0:0");
    const gyre::endpoint at = place_of(socket);
    REQUIRE(socket.connect("127.0.0.1:9"));
    CHECK(place_of(socket).is_loopback());
    REQUIRE(socket.disconnect());
    CHECK(place_of(socket) == at);
    CHECK(socket.connect(gyre::endpoint()).error() == gyre::errno_code(EINVAL));
    CHECK(socket.connect("[::1]:9").error() == gyre::errno_code(EAFNOSUPPORT));
}

TEST_CASE("nothing but the operations needs a scheduler") {
    auto receiver = gyre::datagram::bind("127.0.0.1:0");
    auto sender = gyre::datagram::unbound(gyre::address_family::ipv4);
    REQUIRE(sender.connect(place_of(receiver)));
    CHECK(sender.try_send(test::bytes_of("now")).value() == 3U);
    pollfd arrived = {receiver.native_handle(), POLLIN, 0};
    CHECK(::poll(&arrived, 1, 30'000) == 1);
    std::array<std::byte, 16> buffer;
    gyre::endpoint from;
    const auto received = receiver.try_recvfrom(buffer, from);
    REQUIRE(received);
    CHECK(bytes_in(buffer, *received) == "now");
    CHECK(from == place_of(sender));
    CHECK(sender.disconnect());
}

TEST_CASE("a Unix datagram socket is bound to its path, and the file is its own") {
    const std::string path = "/tmp/gyre-datagram-test-" + std::to_string(::getpid());
    {
        auto receiver = gyre::datagram::bind("unix:" + path);
        CHECK(place_of(receiver) == gyre::endpoint("unix:" + path));
        auto sender = gyre::datagram::unbound(gyre::address_family::unix_domain);
        CHECK(sender.try_sendto(test::bytes_of("x"), "unix:" + path));
        CHECK(gyre::datagram::try_bind("unix:" + path).error() == gyre::errno_code(EADDRINUSE));
    }
    CHECK(::unlink(path.c_str()) == 0);
}

TEST_SUITE_END();
