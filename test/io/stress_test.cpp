// `serve` among clients of all bad manners, with every limit that it has, ended at any moment.

#include <gyre/io/serve.hpp>
#include <gyre/ring/engine.hpp>

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
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <malloc.h>
#include <sys/socket.h>

using test::byte_at;
using test::dice;
using test::raw_socket;
using test::trial;

namespace {

constexpr test::fuzz_options limits{.usually = std::chrono::milliseconds(1200)};

// A thread that connects again and again, each time to behave badly in another way, until the
// server is gone.
class rude_clients {
public:
    rude_clients(trial& round, std::uint16_t port, const std::atomic<bool>& served)
        : round_(round), mine_(round.next()), port_(port), served_(served),
          thread_([this] { run(); }) {}
    ~rude_clients() { thread_.join(); }
    rude_clients(const rude_clients&) = delete;
    rude_clients& operator=(const rude_clients&) = delete;

private:
    void run() {
        while (!served_) {
            raw_socket client = raw_socket::connect_to(port_);
            if (client.get() < 0) {
                break; // The listener is closed.
            }
            client.limit(20);
            behave_badly(client);
            if (mine_.one_in(4) && kept_.size() < 16) {
                kept_.push_back(std::move(client)); // Silent from now on.
            } else if (mine_.one_in(8) && !kept_.empty()) {
                kept_.pop_back();
            }
        }
        kept_.clear();
    }

    void behave_badly(raw_socket& client) {
        switch (mine_.below(8)) {
        case 0: // Vanishes.
            client.close();
            break;
        case 1:
            client.reset();
            break;
        case 2: // Resets with bytes on their way in both directions.
            send(client, mine_.below(3'000));
            client.reset();
            break;
        case 3: // Ends its own side and reads on.
            judge_echo(client, send(client, mine_.below(2'000)), true);
            break;
        case 4: // One byte at a time.
            for (std::uint64_t bytes = mine_.below(20); bytes != 0; --bytes) {
                if (send(client, 1) != 1) {
                    break;
                }
            }
            break;
        case 5: { // Never reads: what it sends comes back until nothing fits any more.
            const int flags = ::fcntl(client.get(), F_GETFL);
            ::fcntl(client.get(), F_SETFL, flags | O_NONBLOCK);
            for (int parts = 0; parts < 50 && send(client, 8'000) > 0; ++parts) {
            }
            ::fcntl(client.get(), F_SETFL, flags);
            break;
        }
        case 6: // Says nothing.
            break;
        default: // Behaves, and then stays.
            judge_echo(client, send(client, 1 + mine_.below(500)), false);
        }
    }

    // Returns how many bytes were taken.
    std::uint64_t send(raw_socket& client, std::uint64_t size) {
        std::vector<std::byte> bytes(size);
        for (std::size_t index = 0; index < bytes.size(); ++index) {
            bytes[index] = byte_at(index);
        }
        const ssize_t sent = ::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        return sent > 0 ? static_cast<std::uint64_t>(sent) : 0;
    }
    // The server may end the session at any moment; what it echoes is right all the same.
    void judge_echo(raw_socket& client, std::uint64_t sent, bool ends) {
        if (ends) {
            ::shutdown(client.get(), SHUT_WR);
        }
        std::array<std::byte, 512> buffer;
        for (std::uint64_t at = 0; ends || at < sent;) {
            const ssize_t got = ::recv(client.get(), buffer.data(), buffer.size(), 0);
            if (got <= 0) {
                break;
            }
            for (const std::byte each : std::span(buffer).first(static_cast<std::size_t>(got))) {
                if (at >= sent || each != byte_at(at)) {
                    round_.fail("the echo is not what was sent");
                    return;
                }
                ++at;
            }
        }
    }

    trial& round_;
    dice mine_;
    std::uint16_t port_;
    const std::atomic<bool>& served_;
    std::vector<raw_socket> kept_;
    std::thread thread_;
};

// What the server's sessions did, in all rounds.
struct census {
    std::uint64_t waits = 0; // for a session, in as many rounds
    std::uint64_t sessions = 0;
    std::size_t heap = 0; // In use after the first rounds.
};

struct server {
    explicit server(trial& of) : round(of) {}

    gyre::task<gyre::result<void>> session(gyre::stream peer) {
        struct counted {
            explicit counted(server& of) : in(of) {
                ++in.begun;
                in.peak = std::max(in.peak, ++in.live);
            }
            ~counted() { --in.live; }
            server& in;
        };
        const counted here(*this);
        std::array<std::byte, 1024> buffer;
        if (round.one_in(32)) {
            throw std::runtime_error("thrown by a test");
        }
        for (;;) {
            const auto limit = std::chrono::nanoseconds(round.any_size(25));
            const std::size_t received =
                co_await gyre::or_return(gyre::with_timeout(gyre::idle(peer.recv(buffer)), limit));
            if (received == 0) {
                break;
            }
            const auto bytes = std::span<const std::byte>(buffer).first(received);
            co_await gyre::or_return(gyre::send_all(peer, bytes));
        }
        if (round.one_in(2)) {
            const auto said = co_await peer.finish(std::chrono::milliseconds(1));
            static_cast<void>(said);
        }
        co_return gyre::result<void>();
    }

    trial& round;
    std::size_t live = 0;
    std::size_t peak = 0;
    std::uint64_t begun = 0;
};

void be_silent(const gyre::session_error&) noexcept {}

gyre::serve_options options_for(trial& round) {
    gyre::serve_options options;
    options.drain_for = std::chrono::nanoseconds(round.any_size(24));
    options.on_session_error = &be_silent;
    if (round.one_in(2)) {
        options.connections_max = 1 + round.below(24);
    }
    if (round.one_in(2)) {
        options.session_limit = std::chrono::nanoseconds(round.any_size(24));
    }
    return options;
}

void serve_the_rude(trial& round, gyre::engine_kind engine, census& seen) {
    const std::size_t descriptors = test::open_descriptors();
    gyre::scheduler_options scheduling;
    scheduling.engine = engine;
    scheduling.submission_entries = 2U << round.below(6);
    scheduling.completion_entries = scheduling.submission_entries << round.below(4);
    server all(round);
    std::atomic<bool> served{false};
    std::vector<std::unique_ptr<rude_clients>> clients;

    gyre::run(scheduling, [&]() -> gyre::task<> {
        std::vector<gyre::listener> listeners;
        for (std::uint64_t count = 1 + round.below(2); count != 0; --count) {
            listeners.push_back(gyre::listener::bind(gyre::endpoint::loopback_v4(0)));
        }
        for (std::uint64_t count = 1 + round.below(3); count != 0; --count) {
            const auto& one = listeners[round.below(listeners.size())];
            clients.push_back(
                std::make_unique<rude_clients>(round, one.local_endpoint().value().port(), served)
            );
        }
        const gyre::serve_options options = options_for(round);
        auto session = [&](gyre::stream peer) { return all.session(std::move(peer)); };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await gyre::serve(std::span<gyre::listener>(listeners), session, options);
                round.expect(all.live == 0, "serve returns before its sessions");
            });
            const auto slept =
                co_await gyre::sleep_for(std::chrono::nanoseconds(round.any_size(25)));
            static_cast<void>(slept);
            if (seen.waits == 0 ||
                round.one_in(2)) { // Even where the clients hardly get the processor.
                ++seen.waits;
                while (all.begun == 0) {
                    const auto waited = co_await gyre::sleep_for(std::chrono::microseconds(100));
                    static_cast<void>(waited);
                }
            }
            if (round.one_in(2)) {
                scope.request_stop();
                if (round.one_in(2)) { // In the middle of the drain.
                    const auto again =
                        co_await gyre::sleep_for(std::chrono::nanoseconds(round.any_size(22)));
                    static_cast<void>(again);
                    scope.cancel();
                }
            } else {
                scope.cancel();
            }
            const auto joined = co_await scope.join();
            static_cast<void>(joined);
        };
        co_await gyre::with_scope(body);
        round.expect(all.live == 0, "sessions are left");
        round.expect(all.peak <= options.connections_max, "more sessions than connections_max");
        for (const gyre::listener& each : listeners) {
            round.expect(!each.is_open(), "a listener is left open");
        }
        round.expect(
            gyre::scheduler::current().operations_in_flight() == 0, "operations are in flight"
        );
        served = true;
    });
    clients.clear();

    seen.sessions += all.begun;
    const std::size_t after = test::open_descriptors();
    if (after != descriptors) {
        round.fail(std::to_string(descriptors) + " descriptors became " + std::to_string(after));
    }
    // Nothing grows from round to round, however many sessions there were.
    const std::size_t heap = ::mallinfo2().uordblks;
    if (seen.heap == 0 && seen.sessions > 500) {
        seen.heap = heap;
    }
    constexpr std::size_t slack = 1 << 20;
    if (seen.heap != 0 && heap > seen.heap + slack) {
        round.fail(
            std::to_string(seen.heap) + " bytes of heap became " + std::to_string(heap) +
            " after " + std::to_string(seen.sessions) + " sessions"
        );
    }
}

} // namespace

TEST_SUITE_BEGIN("io/stress");

TEST_CASE(
    "serve among rude clients ends whenever it is told to, and leaves nothing behind" *
    doctest::timeout(300)
) {
    census seen;
    test::fuzz_every_engine(limits, [&](trial& round, gyre::engine_kind engine) {
        serve_the_rude(round, engine, seen);
    });
    INFO("sessions: ", seen.sessions);
    CHECK(seen.waits > 0);
    CHECK(seen.sessions >= seen.waits);
}

TEST_SUITE_END();
