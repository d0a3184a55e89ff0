// Cancels and limits that race with data, connections and closes, on real sockets.

#include <gyre/net/stream.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/features.hpp>

#include "support/fuzz.hpp"
#include "support/raw_socket.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/socket.h>

using test::byte_at;
using test::dice;
using test::raw_socket;
using test::trial;

namespace {

// Whatever is lost keeps somebody waiting for ever: the limit of the round ends the program.
constexpr test::fuzz_options limits{.usually = std::chrono::milliseconds(600)};

std::chrono::nanoseconds some_time(dice& from) {
    return std::chrono::nanoseconds(from.any_size(19));
}

void dawdle(dice& mine) {
    if (mine.one_in(3)) {
        std::this_thread::sleep_for(some_time(mine));
    } else if (mine.one_in(2)) {
        std::this_thread::yield();
    }
}

gyre::scheduler_options options_for(trial& round, gyre::engine_kind engine) {
    gyre::scheduler_options options;
    options.engine = engine;
    options.submission_entries = 2U << round.below(6);
    options.completion_entries = options.submission_entries << round.below(4);
    if (round.one_in(4)) {
        options.disable.insert(gyre::feature::defer_taskrun);
    }
    if (round.one_in(8)) {
        options.disable = gyre::feature_set::all();
    }
    return options;
}

// Runs one round, after which every descriptor that it opened is closed.
template <class Body>
void run_round(trial& round, gyre::engine_kind engine, Body& body) {
    const std::size_t before = test::open_descriptors();
    gyre::run(options_for(round, engine), body);
    const std::size_t after = test::open_descriptors();
    if (after != before) {
        round.fail(std::to_string(before) + " descriptors became " + std::to_string(after));
    }
}

test::raw_pair some_pair(trial& round) {
    test::raw_pair made =
        round.one_in(2) ? test::raw_pair::make_unix() : test::raw_pair::make_tcp();
    if (round.one_in(2)) { // Small buffers fill, so that sends wait and are short.
        const int size = 4096;
        for (const int fd : {made.first.get(), made.second.get()}) {
            ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
            ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        }
    }
    return made;
}

// Where a stream of patterned bytes has come to.
struct position {
    explicit position(trial& of) : round(of) {}

    void take_in(std::span<const std::byte> bytes) {
        for (const std::byte each : bytes) {
            if (each != byte_at(at)) {
                round.fail("a byte is lost, doubled or moved at " + std::to_string(at));
                return;
            }
            ++at;
        }
    }
    void fill(std::span<std::byte> bytes) const {
        for (std::size_t index = 0; index < bytes.size(); ++index) {
            bytes[index] = byte_at(at + index);
        }
    }

    trial& round;
    std::uint64_t at = 0;
};

// A count or an error that a cancel or a limit leaves.
std::size_t moved(trial& round, const gyre::result<std::size_t>& got) {
    if (!got) {
        round.expect(
            got.error() == gyre::errno_code(ECANCELED) || got.error() == gyre::errc::timed_out,
            "an operation fails for another reason than its end"
        );
    }
    return got.value_or(0);
}

// Receives until the end, in every way that a receive can be ended before it.
gyre::task<> receive_all(trial& round, dice mine, gyre::stream& from, position& into) {
    std::array<std::byte, 700> buffer;
    for (bool over = false; !over && !round.failed();) {
        const auto room = std::span(buffer).first(1 + mine.below(buffer.size()));
        std::size_t count = 0;
        switch (mine.below(6)) {
        case 0: {
            const auto got = co_await from.recv(room);
            round.expect(got.has_value(), "a receive fails");
            count = got.value_or(0);
            over = !got || *got == 0;
            break;
        }
        case 1: {
            const auto got = co_await gyre::with_timeout(from.recv(room), some_time(mine));
            count = moved(round, got);
            over = got && *got == 0;
            break;
        }
        case 2: {
            const auto got =
                co_await gyre::when_any(from.recv(room), gyre::sleep_for(some_time(mine)));
            const auto& received = std::get<0>(got.outcomes);
            count = moved(round, received);
            over = received && *received == 0;
            break;
        }
        case 3: { // A scope that is canceled from beside.
            std::optional<gyre::result<std::size_t>> got;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> { got = co_await from.recv(room); });
                for (std::uint64_t turns = mine.below(3); turns != 0; --turns) {
                    co_await gyre::yield();
                }
                if (mine.one_in(2)) {
                    const auto slept = co_await gyre::sleep_for(some_time(mine));
                    static_cast<void>(slept);
                }
                scope.cancel();
                const auto joined = co_await scope.join();
                static_cast<void>(joined);
            };
            co_await gyre::with_scope(body);
            count = moved(round, *got);
            over = *got && **got == 0;
            break;
        }
        case 4: {
            const auto got =
                co_await gyre::with_timeout(gyre::recv_exactly(from, room), some_time(mine));
            count = got.bytes();
            over = got.error() == gyre::errc::end_of_stream;
            round.expect(
                got || over || got.error() == gyre::errc::timed_out, "an error in between"
            );
            break;
        }
        default: { // Two buffers.
            const std::array<gyre::mutable_buffer, 2> parts = {
                room.first(room.size() / 2), room.subspan(room.size() / 2)
            };
            const std::span<const gyre::mutable_buffer> list(parts);
            const auto got = co_await gyre::with_timeout(from.recv(list), some_time(mine));
            count = moved(round, got);
            over = got && *got == 0;
            break;
        }
        }
        into.take_in(room.first(count));
    }
}

// Sends `total` bytes and the end, in every way that a send can be ended before it.
gyre::task<> send_total(trial& round, dice mine, gyre::stream& to, std::uint64_t total) {
    std::vector<std::byte> buffer(8000);
    position from(round);
    while (from.at < total && !round.failed()) {
        const std::uint64_t left = total - from.at;
        const std::uint64_t most = std::min<std::uint64_t>(left, buffer.size());
        const auto bytes = std::span(buffer).first(1 + mine.below(most));
        from.fill(bytes);
        switch (mine.below(4)) {
        case 0: {
            const auto sent = co_await gyre::with_timeout(to.send(bytes), some_time(mine));
            from.at += moved(round, sent);
            break;
        }
        case 1: {
            const auto sent =
                co_await gyre::with_timeout(gyre::send_all(to, bytes), some_time(mine));
            from.at += sent.bytes();
            round.expect(sent || sent.error() == gyre::errc::timed_out, "a send_all fails");
            break;
        }
        case 2: {
            const auto sent =
                co_await gyre::when_any(to.send(bytes), gyre::sleep_for(some_time(mine)));
            from.at += moved(round, std::get<0>(sent.outcomes));
            break;
        }
        default: {
            const auto sent = co_await gyre::send_all(to, bytes);
            from.at += sent.bytes();
            round.expect(static_cast<bool>(sent), "a send_all without a limit fails");
        }
        }
        // What was canceled must not be sent later.
        std::fill(buffer.begin(), buffer.end(), std::byte{0xEE});
    }
    const auto ended = to.shutdown(gyre::shutdown_side::send);
    round.expect(ended.has_value(), "a shutdown fails");
}

// Halfway it may wait until `other_is_over`: then nothing comes while much is sent.
void send_from_thread(
    dice mine, int fd, std::uint64_t total, const std::atomic<bool>& other_is_over
) {
    bool pauses = mine.one_in(2);
    std::array<std::byte, 2000> buffer;
    for (std::uint64_t at = 0; at < total;) {
        if (pauses && at >= total / 2) {
            other_is_over.wait(false);
            pauses = false;
        }
        const std::uint64_t most = std::min<std::uint64_t>(total - at, buffer.size());
        const std::size_t size =
            1 + mine.below(mine.one_in(2) ? std::min<std::uint64_t>(most, 8) : most);
        for (std::size_t index = 0; index < size; ++index) {
            buffer[index] = byte_at(at + index);
        }
        const ssize_t sent = ::send(fd, buffer.data(), size, MSG_NOSIGNAL);
        if (sent <= 0) {
            break;
        }
        at += static_cast<std::uint64_t>(sent);
        dawdle(mine);
    }
    ::shutdown(fd, SHUT_WR);
}

void receive_in_thread(dice mine, int fd, position& into) {
    std::array<std::byte, 3000> buffer;
    for (;;) {
        const ssize_t got = ::recv(fd, buffer.data(), 1 + mine.below(buffer.size()), 0);
        if (got <= 0) {
            break;
        }
        into.take_in(std::span(buffer).first(static_cast<std::size_t>(got)));
        dawdle(mine);
    }
}

// A thread on the other side, in both directions.
void exchange_with_thread(trial& round, gyre::engine_kind engine) {
    const auto to_task = static_cast<std::uint64_t>(round.any_size(14));
    const auto to_thread = static_cast<std::uint64_t>(round.any_size(17));
    auto body = [&]() -> gyre::task<> {
        auto pair = some_pair(round);
        auto ours = gyre::stream::adopt(pair.first.release());
        position in_task(round);
        position in_thread(round);
        std::atomic<bool> received{false};
        std::thread sender([&, mine = dice(round.next())] {
            send_from_thread(mine, pair.second.get(), to_task, received);
        });
        std::thread receiver([&, mine = dice(round.next())] {
            receive_in_thread(mine, pair.second.get(), in_thread);
            received = true;
            received.notify_all();
        });
        auto both = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await send_total(round, dice(round.next()), ours, to_thread);
            });
            co_await receive_all(round, dice(round.next()), ours, in_task);
        };
        co_await gyre::with_scope(both);
        if (round.failed()) { // Else they wait for an end of the stream.
            const auto ended = ours.shutdown(gyre::shutdown_side::both);
            static_cast<void>(ended);
        }
        sender.join();
        receiver.join();
        round.expect(in_task.at == to_task, "bytes on their way to a task are missing");
        round.expect(in_thread.at == to_thread, "bytes on their way to a thread are missing");
    };
    run_round(round, engine, body);
}

// Several pairs on one scheduler, both ends of each.
void exchange_between_tasks(trial& round, gyre::engine_kind engine) {
    auto body = [&]() -> gyre::task<> {
        auto all = [&](gyre::scope& scope) -> gyre::task<> {
            for (std::uint64_t pairs = 1 + round.below(8); pairs != 0; --pairs) {
                scope.spawn([&]() -> gyre::task<> {
                    auto pair = some_pair(round);
                    auto one = gyre::stream::adopt(pair.first.release());
                    auto other = gyre::stream::adopt(pair.second.release());
                    position received(round);
                    const std::uint64_t total = round.below(50'000);
                    auto both = [&](gyre::scope& ends) -> gyre::task<> {
                        ends.spawn([&]() -> gyre::task<> {
                            co_await send_total(round, dice(round.next()), one, total);
                        });
                        co_await receive_all(round, dice(round.next()), other, received);
                    };
                    co_await gyre::with_scope(both);
                    round.expect(received.at == total, "bytes are missing");
                });
            }
            co_return;
        };
        co_await gyre::with_scope(all);
    };
    run_round(round, engine, body);
}

// Accepts that end as clients connect: each client is accepted once, in one accept or a later one.
void cancel_accepts(trial& round, gyre::engine_kind engine) {
    const std::uint64_t total = 20 + round.below(80);
    auto body = [&]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const std::uint16_t port = listener.local_endpoint().value().port();
        std::thread clients([&, mine = dice(round.next())]() mutable {
            std::vector<raw_socket> open;
            for (std::uint64_t name = 0; name < total; ++name) {
                raw_socket client = raw_socket::connect_to(port);
                const auto said = static_cast<unsigned char>(name);
                if (client.get() < 0 || ::send(client.get(), &said, 1, MSG_NOSIGNAL) != 1) {
                    round.fail("a client cannot connect");
                }
                if (mine.one_in(2)) {
                    open.push_back(std::move(client));
                }
                dawdle(mine);
            }
        });
        std::vector<int> seen(total);
        std::uint64_t accepted = 0;
        while (accepted < total && !round.failed()) {
            std::optional<gyre::result<gyre::stream>> got;
            switch (round.below(3)) {
            case 0:
                got = co_await gyre::with_timeout(listener.accept(), some_time(round));
                break;
            case 1: {
                auto either =
                    co_await gyre::when_any(listener.accept(), gyre::sleep_for(some_time(round)));
                got = std::move(std::get<0>(either.outcomes));
                break;
            }
            default: {
                auto inside = [&](gyre::scope& scope) -> gyre::task<> {
                    scope.spawn([&]() -> gyre::task<> { got = co_await listener.accept(); });
                    co_await gyre::yield();
                    const auto slept = co_await gyre::sleep_for(some_time(round));
                    static_cast<void>(slept);
                    scope.cancel();
                };
                co_await gyre::with_scope(inside);
            }
            }
            if (!*got) {
                round.expect(
                    got->error() == gyre::errno_code(ECANCELED) ||
                        got->error() == gyre::errc::timed_out,
                    "an accept fails for another reason than its end"
                );
                continue;
            }
            ++accepted;
            std::array<std::byte, 2> name{};
            const auto received = co_await (*got)->recv(name);
            round.expect(received.value_or(0) == 1, "a client that was accepted said nothing");
            const auto index = static_cast<std::size_t>(name[0]);
            round.expect(index < total && seen[index]++ == 0, "a client is accepted twice");
        }
        clients.join();
    };
    run_round(round, engine, body);
}

// Connects that end before, in or after their handshake, to a listener that takes all of them.
void cancel_connects(trial& round, gyre::engine_kind engine) {
    auto body = [&]() -> gyre::task<> {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        const auto at = listener.local_endpoint().value();
        std::uint64_t connected = 0;
        std::uint64_t greeted = 0;
        auto both = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                while (!gyre::this_task::canceled()) {
                    auto client = co_await listener.accept();
                    if (!client) {
                        break;
                    }
                    std::array<std::byte, 2> buffer;
                    const auto received = co_await client->recv(buffer);
                    greeted += received.value_or(0) == 1 ? 1U : 0U;
                }
            });
            for (std::uint64_t tries = 20 + round.below(80); tries != 0; --tries) {
                std::optional<gyre::result<gyre::stream>> got;
                if (round.one_in(2)) {
                    got = co_await gyre::with_timeout(
                        gyre::stream::connect(at), std::chrono::nanoseconds(round.any_size(16))
                    );
                } else {
                    auto either = co_await gyre::when_any(
                        gyre::stream::connect(at), gyre::sleep_for(some_time(round))
                    );
                    got = std::move(std::get<0>(either.outcomes));
                }
                if (*got) {
                    ++connected;
                    const auto sent = co_await (*got)->send(test::bytes_of("!"));
                    round.expect(sent.value_or(0) == 1, "a stream that is connected cannot send");
                } else {
                    round.expect(
                        got->error() == gyre::errno_code(ECANCELED) ||
                            got->error() == gyre::errc::timed_out,
                        "a connect fails for another reason than its end"
                    );
                }
            }
            while (greeted < connected) { // Those that were given up stand in the queue as well.
                co_await gyre::yield();
            }
            scope.cancel();
        };
        co_await gyre::with_scope(both);
        round.expect(greeted == connected, "a connection is there that nobody made");
    };
    run_round(round, engine, body);
}

// Streams that are closed and destroyed with operations in flight, while their numbers are taken
// again at once: no operation reaches the stream that has its descriptor next.
void reuse_numbers(trial& round, gyre::engine_kind engine) {
    auto body = [&]() -> gyre::task<> {
        auto worker = [&](int name) -> gyre::task<> {
            const auto mark = static_cast<std::byte>(name);
            for (std::uint64_t lives = 5 + round.below(30); lives != 0 && !round.failed();
                 --lives) {
                auto raw =
                    round.one_in(2) ? test::raw_pair::make_unix() : test::raw_pair::make_tcp();
                auto ours =
                    std::make_unique<gyre::stream>(gyre::stream::adopt(raw.first.release()));
                auto theirs = gyre::stream::adopt(raw.second.release());
                std::array<std::byte, 64> buffer{};
                std::vector<std::byte> much(round.one_in(4) ? 1'000'000 : 1, mark);
                bool received_own = true;
                auto life = [&](gyre::scope& scope) -> gyre::task<> {
                    scope.spawn([&]() -> gyre::task<> {
                        for (;;) {
                            const auto got = co_await ours->recv(buffer);
                            const auto bytes = std::span(buffer).first(got.value_or(0));
                            received_own = received_own && std::ranges::all_of(bytes, [&](auto b) {
                                               return b == mark;
                                           });
                            if (!got || *got == 0 || ours == nullptr) {
                                break;
                            }
                        }
                    });
                    if (round.one_in(2)) {
                        scope.spawn([&]() -> gyre::task<> {
                            const auto sent = co_await ours->send(much);
                            static_cast<void>(sent);
                        });
                    }
                    const auto sent = co_await theirs.send(std::span(&mark, 1));
                    round.expect(sent.value_or(0) == 1, "a new stream cannot send");
                    for (std::uint64_t turns = round.below(4); turns != 0; --turns) {
                        co_await gyre::yield();
                    }
                    switch (round.below(3)) {
                    case 0: {
                        const auto closed = co_await ours->close();
                        round.expect(closed.has_value(), "a close fails");
                        break;
                    }
                    case 1:
                        ours.reset();
                        break;
                    default:
                        *ours = gyre::stream::pair().second; // Its peer is closed: the end.
                    }
                    if (round.one_in(2)) {
                        auto next = gyre::stream::pair();
                        const std::byte other = ~mark;
                        const auto told = co_await next.first.send(std::span(&other, 1));
                        std::array<std::byte, 8> heard{};
                        const auto got = co_await next.second.recv(heard);
                        round.expect(
                            told && got && *got == 1 && heard[0] == other,
                            "a stream does not get what was sent to it"
                        );
                    }
                };
                co_await gyre::with_scope(life);
                round.expect(received_own, "a stream receives what was sent to another one");
            }
        };
        auto all = [&](gyre::scope& scope) -> gyre::task<> {
            for (std::uint64_t workers = 1 + round.below(12); workers != 0; --workers) {
                scope.spawn(worker, static_cast<int>(workers));
            }
            co_return;
        };
        co_await gyre::with_scope(all);
    };
    run_round(round, engine, body);
}

} // namespace

TEST_SUITE_BEGIN("net/stress");

TEST_CASE(
    "receives and sends that end early lose and double no byte, against a thread" *
    doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, exchange_with_thread);
}

TEST_CASE(
    "receives and sends that end early lose and double no byte, between tasks" *
    doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, exchange_between_tasks);
}

TEST_CASE(
    "accepts that end as clients connect: each client is accepted once" * doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, cancel_accepts);
}

TEST_CASE(
    "connects that end at any moment leave no descriptor and no connection" * doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, cancel_connects);
}

TEST_CASE(
    "descriptors that are reused at once never get what was meant for the one before" *
    doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, reuse_numbers);
}

TEST_SUITE_END();
