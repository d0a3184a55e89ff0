#include <gyre/io/serve.hpp>

#include <gyre/net/descriptor.hpp>
#include <gyre/ring/uapi.hpp>

#include "support/test.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

// What every echo server does; a wait for the next request is idle.
gyre::task<> echo(gyre::stream peer) {
    std::array<std::byte, 1024> buffer;
    for (;;) {
        const auto received = co_await gyre::idle(peer.recv(buffer));
        if (!received || *received == 0) {
            co_return;
        }
        const auto sent = co_await gyre::send_all(peer, std::span(buffer).first(*received));
        if (!sent) {
            co_return;
        }
    }
}

// True if `peer` sends `text` back.
gyre::task<bool> echoes(gyre::stream& peer, std::string_view text) {
    const auto sent = co_await gyre::send_all(peer, test::bytes_of(text));
    if (!sent) {
        co_return false;
    }
    std::vector<std::byte> back(text.size());
    const auto received = co_await gyre::recv_exactly(peer, back);
    co_return received&& test::text_of(back) == text;
}

gyre::task<gyre::stream> connect_to(const gyre::descriptor& server) {
    auto made = co_await gyre::or_throw(gyre::stream::connect(server.local_endpoint().value()));
    co_return made;
}

// True once the server has closed or reset the connection.
gyre::task<bool> sees_the_end(gyre::stream& peer) {
    std::array<std::byte, 64> buffer;
    for (;;) {
        const auto received = co_await peer.recv(buffer);
        if (!received || *received == 0) {
            co_return true;
        }
    }
}

// Serves while `clients` runs, then asks the server to stop and joins it.
template <class Session, class Clients>
gyre::task<> serve_while(
    gyre::listener& listener, Session& session, gyre::serve_options options, Clients& clients
) {
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        scope.spawn([&]() -> gyre::task<> { co_await gyre::serve(listener, session, options); });
        co_await clients();
        scope.request_stop();
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    CHECK(!listener.is_open());
}

// What the log said, for as long as this lives.
class captured_log {
public:
    captured_log() : before_(gyre::set_log_hook(&captured_log::take)) { lines().clear(); }
    ~captured_log() { gyre::set_log_hook(before_); }
    captured_log(const captured_log&) = delete;
    captured_log& operator=(const captured_log&) = delete;

    static std::vector<std::string>& lines() {
        static std::vector<std::string> all;
        return all;
    }

private:
    static void take(gyre::log_level, std::string_view text) noexcept {
        lines().emplace_back(text);
    }
    gyre::log_hook before_;
};

std::size_t failures = 0;
std::string last_failure;
void note_failure(const gyre::session_error& failed) noexcept {
    ++failures;
    last_failure.clear();
    if (failed.exception) {
        try {
            std::rethrow_exception(failed.exception);
        } catch (const std::exception& error) {
            last_failure = error.what();
        }
    } else {
        last_failure = gyre::describe(failed.error);
    }
}

} // namespace

TEST_SUITE_BEGIN("io/serve");

TEST_CASE("serve runs one session for each connection, many at a time") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        std::size_t right = 0;
        auto clients = [&]() -> gyre::task<> {
            auto all = [&](gyre::scope& scope) -> gyre::task<> {
                for (int index = 0; index < 200; ++index) {
                    scope.spawn([&, index]() -> gyre::task<> {
                        auto peer = co_await connect_to(listener);
                        for (int round = 0; round < 5; ++round) {
                            const auto text = std::to_string(index * 100 + round) + " says hello";
                            const bool back = co_await echoes(peer, text);
                            right += back ? 1U : 0U;
                        }
                    });
                }
                const auto joined = co_await scope.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(all);
        };
        const auto before = test::open_descriptors();
        co_await serve_while(listener, echo, {}, clients);
        CHECK(right == 1000U);
        CHECK(test::open_descriptors() == before - 1);
    });
}

TEST_CASE("at connections_max accepting pauses, and it resumes when a session ends") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        std::size_t now = 0;
        std::size_t peak = 0;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            peak = std::max(peak, ++now);
            co_await echo(std::move(peer));
            --now;
        };
        auto clients = [&]() -> gyre::task<> {
            auto one = co_await connect_to(listener);
            auto two = co_await connect_to(listener);
            auto three = co_await connect_to(listener);
            const bool back_1 = co_await echoes(one, "one");
            CHECK(back_1);
            const bool back_2 = co_await echoes(two, "two");
            CHECK(back_2);
            const auto asked = co_await three.send(test::bytes_of("three"));
            CHECK(asked);
            std::array<std::byte, 5> buffer{};
            const auto early = co_await gyre::with_timeout(gyre::recv_exactly(three, buffer), 5ms);
            CHECK(early.error() == gyre::errc::timed_out);
            CHECK(now == 2U);

            const auto closed = co_await one.close();
            CHECK(closed);
            const auto served = co_await gyre::recv_exactly(three, buffer);
            CHECK(served);
            CHECK(test::text_of(buffer) == "three");
        };
        gyre::serve_options options;
        options.connections_max = 2;
        co_await serve_while(listener, session, options, clients);
        CHECK(peak == 2U);
    });
}

TEST_CASE("serve takes several listeners, and connections_max holds for all of them together") {
    test::on_every_engine([]() -> gyre::task<> {
        std::vector<gyre::listener> listeners;
        listeners.push_back(gyre::listener::bind("127.0.0.1:0"));
        listeners.push_back(gyre::listener::bind("[::1]:0"));
        listeners.push_back(gyre::listener::bind("127.0.0.1:0"));
        std::size_t now = 0;
        std::size_t peak = 0;
        std::size_t right = 0;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            peak = std::max(peak, ++now);
            co_await echo(std::move(peer));
            --now;
        };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                gyre::serve_options options;
                options.connections_max = 4;
                co_await gyre::serve(std::span(listeners), session, options);
            });
            auto clients = [&](gyre::scope& all) -> gyre::task<> {
                for (std::size_t index = 0; index < 60; ++index) {
                    all.spawn([&, index]() -> gyre::task<> {
                        auto peer = co_await connect_to(listeners[index % 3]);
                        const bool back =
                            co_await echoes(peer, "from client " + std::to_string(index));
                        right += back ? 1U : 0U;
                    });
                }
                const auto joined = co_await all.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(clients);
            scope.request_stop();
        };
        co_await gyre::with_scope(body);
        CHECK(right == 60U);
        CHECK(peak <= 4U);
        for (const gyre::listener& each : listeners) {
            CHECK(!each.is_open());
        }
    });
}

TEST_CASE("an exception out of a session goes to the hook, and the server goes on") {
    test::on_every_engine([]() -> gyre::task<> {
        failures = 0;
        auto listener = gyre::listener::bind("127.0.0.1:0");
        auto session = [](gyre::stream peer) -> gyre::task<> {
            std::array<std::byte, 1> byte;
            const auto received = co_await peer.recv(byte);
            if (received.value_or(0) == 1 && byte[0] == std::byte{'!'}) {
                throw std::runtime_error("the session's own trouble");
            }
            const auto sent = co_await peer.send(byte);
            CHECK(sent);
        };
        auto clients = [&]() -> gyre::task<> {
            for (int round = 0; round < 3; ++round) {
                auto bad = co_await connect_to(listener);
                auto good = co_await connect_to(listener);
                const auto sent = co_await bad.send(test::bytes_of("!"));
                CHECK(sent);
                const bool ended_3 = co_await sees_the_end(bad);
                CHECK(ended_3);
                const bool back_4 = co_await echoes(good, "x");
                CHECK(back_4);
            }
        };
        gyre::serve_options options;
        options.on_session_error = &note_failure;
        co_await serve_while(listener, session, options, clients);
        CHECK(failures == 3U);
        CHECK(last_failure == "the session's own trouble");
    });
}

TEST_CASE("without a hook an exception out of a session is one line in the log") {
    test::on_every_engine([]() -> gyre::task<> {
        const captured_log log;
        auto listener = gyre::listener::bind("127.0.0.1:0");
        auto session = [](gyre::stream) -> gyre::task<> {
            throw std::runtime_error("no luck");
            co_return;
        };
        auto clients = [&]() -> gyre::task<> {
            auto peer = co_await connect_to(listener);
            const bool ended_5 = co_await sees_the_end(peer);
            CHECK(ended_5);
        };
        co_await serve_while(listener, session, {}, clients);
        REQUIRE(captured_log::lines().size() == 1U);
        CHECK(captured_log::lines()[0] == "a session let out an exception: no luck");
    });
}

TEST_CASE("a session that throws before it yields its task ends alone as well") {
    test::on_every_engine([]() -> gyre::task<> {
        failures = 0;
        auto listener = gyre::listener::bind("127.0.0.1:0");
        std::size_t made = 0;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            if (++made == 1) {
                throw std::runtime_error("no session made");
            }
            return echo(std::move(peer));
        };
        auto clients = [&]() -> gyre::task<> {
            auto first = co_await connect_to(listener);
            const bool ended_6 = co_await sees_the_end(first);
            CHECK(ended_6);
            auto second = co_await connect_to(listener);
            const bool back_7 = co_await echoes(second, "still here");
            CHECK(back_7);
        };
        gyre::serve_options options;
        options.on_session_error = &note_failure;
        co_await serve_while(listener, session, options, clients);
        CHECK(failures == 1U);
        CHECK(last_failure == "no session made");
    });
}

TEST_CASE("a failed result of a session goes to the hook, with or without a session limit") {
    for (const bool limited : {false, true}) {
        test::on_every_engine([limited]() -> gyre::task<> {
            failures = 0;
            const captured_log log;
            auto listener = gyre::listener::bind("127.0.0.1:0");
            auto session = [](gyre::stream) -> gyre::task<gyre::result<void>> {
                co_return gyre::errno_code(EPROTO);
            };
            auto clients = [&]() -> gyre::task<> {
                auto peer = co_await connect_to(listener);
                const bool ended_8 = co_await sees_the_end(peer);
                CHECK(ended_8);
            };
            gyre::serve_options options;
            options.on_session_error = &note_failure;
            if (limited) {
                options.session_limit = 10s;
            }
            co_await serve_while(listener, session, options, clients);
            CHECK(failures == 1U);
            CHECK(last_failure == "EPROTO: Protocol error");
            CHECK(captured_log::lines().empty());
        });
    }
}

TEST_CASE("a session ends at session_limit, counted from its accept") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        std::error_code seen;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            std::array<std::byte, 16> buffer;
            for (;;) {
                const auto received = co_await peer.recv(buffer);
                if (!received) {
                    seen = received.error();
                    co_return;
                }
            }
        };
        auto clients = [&]() -> gyre::task<> {
            auto peer = co_await connect_to(listener);
            const auto begun = gyre::clock::now();
            auto all = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn(
                    [&]() -> gyre::task<> { // It is busy all the time, and ends all the same.
                        for (;;) {
                            const auto sent = co_await peer.send(test::bytes_of("x"));
                            const auto rested = co_await gyre::sleep_for(1ms);
                            if (!sent || !rested) {
                                co_return;
                            }
                        }
                    }
                );
                const bool ended_9 = co_await sees_the_end(peer);
                CHECK(ended_9);
                CHECK(gyre::clock::now() - begun >= 15ms);
                scope.cancel();
            };
            co_await gyre::with_scope(all);
        };
        gyre::serve_options options;
        options.session_limit = 20ms;
        co_await serve_while(listener, session, options, clients);
        CHECK(seen == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("a stop from above ends idle sessions at once and lets busy ones finish") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        gyre::serve_options options;
        options.drain_for = 1h;
        bool at_work = false;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            std::array<std::byte, 4> request;
            const auto received = co_await gyre::idle(gyre::recv_exactly(peer, request));
            if (!received) {
                co_return;
            }
            at_work = true;
            CHECK(!gyre::this_task::stop_requested());
            while (!gyre::this_task::stop_requested()) { // Busy until the stop, and a while longer.
                const auto rested = co_await gyre::sleep_for(1ms);
                CHECK(rested);
            }
            const auto rested = co_await gyre::sleep_for(5ms);
            CHECK(rested);
            const auto sent = co_await gyre::send_all(peer, test::bytes_of("done"));
            CHECK(sent);
        };
        bool served = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await gyre::serve(listener, session, options);
                served = true;
            });
            auto resting = co_await connect_to(listener);
            auto working = co_await connect_to(listener);
            const auto sent = co_await gyre::send_all(working, test::bytes_of("work"));
            CHECK(sent);
            while (!at_work) { // The one that rests was accepted before it.
                co_await gyre::yield();
            }

            scope.request_stop();

            const bool ended_10 = co_await sees_the_end(resting);
            CHECK(ended_10);
            CHECK(!served);
            const auto late = co_await gyre::stream::connect(at);
            CHECK(late.error() == gyre::errno_code(ECONNREFUSED));
            std::array<std::byte, 4> reply{};
            const auto received = co_await gyre::recv_exactly(working, reply);
            CHECK(received);
            CHECK(test::text_of(reply) == "done");
        };
        co_await gyre::with_scope(body);
        CHECK(served);
        CHECK(!listener.is_open());
    });
}

TEST_CASE("sessions that are still there after drain_for are canceled and joined") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        gyre::serve_options options;
        options.drain_for = 10ms;
        std::size_t started = 0;
        std::size_t canceled = 0;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            std::array<std::byte, 4> buffer;
            ++started;
            const auto received = co_await peer.recv(buffer); // Not idle: it means to stay.
            canceled += received.error() == gyre::errno_code(ECANCELED) ? 1U : 0U;
        };
        auto begun = gyre::clock::now();
        std::optional<gyre::stream> one;
        std::optional<gyre::stream> two;
        auto staying = [&]() -> gyre::task<> {
            auto first = co_await connect_to(listener);
            auto second = co_await connect_to(listener);
            one.emplace(std::move(first));
            two.emplace(std::move(second));
            while (started != 2) {
                co_await gyre::yield();
            }
            begun = gyre::clock::now();
        };
        co_await serve_while(listener, session, options, staying);
        CHECK(canceled == 2U);
        CHECK(gyre::clock::now() - begun >= 10ms);
    });
}

TEST_CASE("SIGTERM stops accepting and drains; what was idle ends at once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        gyre::serve_options options;
        options.stop_on_signals = true;
        options.drain_for = 1h;
        bool served = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await gyre::serve(listener, echo, options);
                served = true;
            });
            auto peer = co_await connect_to(listener);
            const bool back_11 = co_await echoes(peer, "hello");
            CHECK(back_11);
            REQUIRE(std::raise(SIGTERM) == 0);
            const bool ended_12 = co_await sees_the_end(peer);
            CHECK(ended_12);
            const auto late = co_await gyre::stream::connect(at);
            CHECK(late.error() == gyre::errno_code(ECONNREFUSED));
            const auto joined = co_await scope.join();
            CHECK(joined);
            CHECK(served);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a second signal cancels at once, and the mask is as it was afterwards") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        gyre::serve_options options;
        options.stop_on_signals = true;
        options.drain_for = 1h;
        std::error_code seen;
        bool in_session = false;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            in_session = true;
            std::array<std::byte, 4> buffer;
            const auto received = co_await peer.recv(buffer);
            seen = received.error();
        };
        sigset_t before;
        REQUIRE(::pthread_sigmask(SIG_SETMASK, nullptr, &before) == 0);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await gyre::serve(listener, session, options);
            });
            auto peer = co_await connect_to(listener);
            while (!in_session) {
                co_await gyre::yield();
            }
            REQUIRE(std::raise(SIGINT) == 0);
            while (listener.is_open()) {
                co_await gyre::yield();
            }
            CHECK(seen == std::error_code()); // Still draining.
            REQUIRE(std::raise(SIGTERM) == 0);
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        sigset_t after;
        REQUIRE(::pthread_sigmask(SIG_SETMASK, nullptr, &after) == 0);
        for (const int number : {SIGINT, SIGTERM}) {
            CHECK(::sigismember(&before, number) == ::sigismember(&after, number));
        }
    });
}

TEST_CASE("a server that is canceled cancels its sessions, closes its listener and returns") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool with_signals : {false, true}) {
            auto listener = gyre::listener::bind("127.0.0.1:0");
            const auto before = test::open_descriptors();
            gyre::serve_options options;
            options.stop_on_signals = with_signals;
            options.drain_for = 1h;
            std::error_code seen;
            bool in_session = false;
            bool served = false;
            std::optional<gyre::stream> peer; // Stays until the session has ended.
            auto session = [&](gyre::stream client) -> gyre::task<> {
                in_session = true;
                std::array<std::byte, 4> buffer;
                const auto received = co_await client.recv(buffer);
                seen = received.error();
            };
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    co_await gyre::serve(listener, session, options);
                    served = true;
                });
                auto made = co_await connect_to(listener);
                peer.emplace(std::move(made));
                while (!in_session) {
                    co_await gyre::yield();
                }
                scope.cancel();
            };
            co_await gyre::with_scope(body);
            CHECK(seen == gyre::errno_code(ECANCELED));
            CHECK(served);
            CHECK(!listener.is_open());
            peer.reset();
            CHECK(test::open_descriptors() == before - 1);
        }
    });
}

TEST_CASE("a stop in the turn in which a session ends at the connection limit is told once") {
    test::on_every_engine([]() -> gyre::task<> {
        for (int round = 0; round < 20; ++round) {
            auto listener = gyre::listener::bind("127.0.0.1:0");
            gyre::serve_options options;
            options.connections_max = 1;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                // Both wait for the same deadline: the session ends first, then the stop comes,
                // before the accept loop that was told of the end goes on.
                const auto at = gyre::clock::now() + 3ms;
                bool in_session = false;
                auto session = [&, at](gyre::stream) -> gyre::task<> {
                    in_session = true;
                    const auto slept = co_await gyre::sleep_until(at);
                    CHECK(slept);
                };
                scope.spawn([&]() -> gyre::task<> {
                    co_await gyre::serve(listener, session, options);
                });
                auto peer = co_await connect_to(listener);
                while (!in_session) {
                    co_await gyre::yield();
                }
                co_await gyre::yield();
                const auto slept = co_await gyre::sleep_until(at);
                CHECK(slept);
                if (round % 2 == 0) {
                    scope.request_stop();
                } else {
                    scope.cancel();
                }
                const auto joined = co_await scope.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(body);
            CHECK(!listener.is_open());
        }
    });
}

TEST_CASE("serve throws when accepting fails for good, and its sessions are joined") {
    test::on_every_engine([]() -> gyre::task<> {
        std::vector<gyre::listener> listeners;
        listeners.push_back(gyre::listener::bind("127.0.0.1:0"));
        listeners.push_back(gyre::listener::bind("127.0.0.1:0"));
        // A socket that was shut down accepts no more: EINVAL.
        bool in_session = false;
        bool session_over = false;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            in_session = true;
            std::array<std::byte, 4> buffer;
            const auto received = co_await peer.recv(buffer);
            CHECK(received.error() == gyre::errno_code(ECANCELED));
            session_over = true;
        };
        std::string said;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                try {
                    co_await gyre::serve(std::span(listeners), session);
                } catch (const std::system_error& error) {
                    said = error.what();
                }
            });
            auto peer = co_await connect_to(listeners[0]);
            while (!in_session) {
                co_await gyre::yield();
            }
            REQUIRE(::shutdown(listeners[1].native_handle(), SHUT_RDWR) == 0);
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(said == "serve: accept: EINVAL: Invalid argument");
        CHECK(session_over);
        CHECK(!listeners[0].is_open());
        CHECK(!listeners[1].is_open());
    });
}

TEST_CASE("serve ends when another task closes its listener, with and without signals") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool with_signals : {false, true}) {
            auto listener = gyre::listener::bind("127.0.0.1:0");
            gyre::serve_options options;
            options.stop_on_signals = with_signals;
            bool served = false;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    co_await gyre::serve(listener, echo, options);
                    served = true;
                });
                auto peer = co_await connect_to(listener);
                const bool back_13 = co_await echoes(peer, "hello");
                CHECK(back_13);
                const auto closed = co_await listener.close();
                static_cast<void>(closed); // The server may have been quicker.
                // The limit makes a failure of a server that waits for ever.
                const auto begun = gyre::clock::now();
                while (!served && gyre::clock::now() - begun < 2s) {
                    const auto rested = co_await gyre::sleep_for(1ms);
                    CHECK(rested);
                }
                CHECK(served);
                scope.cancel();
            };
            co_await gyre::with_scope(body);
        }
    });
}

TEST_CASE("peers that reset, half-close, trickle, never read or stay silent harm only themselves") {
    test::on_every_engine([]() -> gyre::task<> {
        const captured_log log;
        auto listener = gyre::listener::bind("127.0.0.1:0");
        gyre::serve_options options;
        options.drain_for = 10ms;
        std::size_t right = 0;
        bool trickled = false;
        bool half_closed = false;
        std::size_t never_read = 0;
        std::optional<gyre::stream> silent;
        auto clients = [&]() -> gyre::task<> {
            auto made = co_await connect_to(listener);
            silent.emplace(std::move(made));
            auto all = [&](gyre::scope& scope) -> gyre::task<> {
                auto bad = [&](gyre::scope& peers) -> gyre::task<> {
                    for (int index = 0; index < 20; ++index) {
                        peers.spawn([&]() -> gyre::task<> { // Resets in the middle of its request.
                            auto peer = co_await connect_to(listener);
                            const auto sent = co_await peer.send(test::bytes_of("half a requ"));
                            CHECK(sent);
                            CHECK(peer.set_option(gyre::linger(true, 0s)));
                        });
                        peers.spawn([&]() -> gyre::task<> { // Goes without reading its reply.
                            auto peer = co_await connect_to(listener);
                            const auto sent = co_await peer.send(test::bytes_of("a request"));
                            CHECK(sent);
                        });
                    }
                    peers.spawn([&]() -> gyre::task<> { // Closes its side, then still reads all.
                        auto peer = co_await connect_to(listener);
                        const auto sent = co_await gyre::send_all(peer, test::bytes_of("goodbye"));
                        CHECK(sent);
                        CHECK(peer.shutdown(gyre::shutdown_side::send));
                        std::array<std::byte, 16> buffer{};
                        const auto received = co_await gyre::recv_exactly(peer, buffer);
                        half_closed =
                            received.error() == gyre::errc::end_of_stream && received.bytes() == 7;
                    });
                    peers.spawn([&]() -> gyre::task<> { // One byte at a time.
                        auto peer = co_await connect_to(listener);
                        for (const char letter : std::string("trickle")) {
                            const auto sent =
                                co_await peer.send(test::bytes_of(std::string_view(&letter, 1)));
                            CHECK(sent);
                            const auto rested = co_await gyre::sleep_for(2ms);
                            CHECK(rested);
                        }
                        std::array<std::byte, 7> buffer{};
                        const auto received = co_await gyre::recv_exactly(peer, buffer);
                        trickled = received && test::text_of(buffer) == "trickle";
                    });
                    const auto joined = co_await peers.join();
                    CHECK(joined);
                };
                scope.spawn([&]() -> gyre::task<> { // Sends and sends and never reads.
                    auto peer = co_await connect_to(listener);
                    const std::vector<std::byte> data(64 << 20);
                    const auto sent = co_await gyre::send_all(peer, data);
                    CHECK(!sent);
                    never_read = sent.bytes();
                });
                auto good = [&](gyre::scope& peers) -> gyre::task<> {
                    for (int index = 0; index < 30; ++index) {
                        peers.spawn([&, index]() -> gyre::task<> {
                            auto peer = co_await connect_to(listener);
                            for (int round = 0; round < 20; ++round) {
                                const bool back =
                                    co_await echoes(peer, "good " + std::to_string(index * round));
                                right += back ? 1U : 0U;
                            }
                        });
                    }
                    const auto joined = co_await peers.join();
                    CHECK(joined);
                };
                const auto both =
                    co_await gyre::when_all(gyre::with_scope(bad), gyre::with_scope(good));
                static_cast<void>(both);
                scope.cancel();
            };
            co_await gyre::with_scope(all);
        };
        const auto before = test::open_descriptors();
        co_await serve_while(listener, echo, options, clients);
        CHECK(right == 600U);
        CHECK(trickled);
        CHECK(half_closed);
        CHECK(never_read < (64U << 20));
        silent.reset();
        CHECK(test::open_descriptors() == before - 1);
        CHECK(captured_log::lines().empty());
    });
}

namespace {

// In a process of its own, since it needs more descriptors than the server may have: `count`
// clients that are all connected before the first one speaks. Never returns.
[[noreturn]] void run_clients(const gyre::endpoint& at, int count) {
    ::alarm(60); // Whatever happens to the server, this process ends.
    std::vector<int> peers;
    for (int index = 0; index < count; ++index) {
        const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 ||
            ::connect(
                fd, static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())
            ) != 0) {
            ::_exit(1);
        }
        peers.push_back(fd);
    }
    ::usleep(300'000); // The time in which a server that spins shows it.
    for (const int fd : peers) {
        char byte = 'x';
        if (::send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || ::recv(fd, &byte, 1, 0) != 1 ||
            byte != 'x') {
            ::_exit(2);
        }
        ::close(fd);
    }
    ::_exit(0);
}

} // namespace

TEST_CASE("with 64 descriptors and 200 clients serve goes on serving, backs off and recovers") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr int clients = 200;
        const captured_log log;
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const auto before = test::open_descriptors();
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            // Its copy would keep the port open, and its clients waiting, should the server die.
            ::close(listener.native_handle());
            run_clients(at, clients);
        }
        // UndefinedBehaviorSanitizer looks at the type of an object through a pipe, for which there
        // may be no descriptor. It remembers what it has seen, so show it what comes.
        const std::error_code shortage = gyre::errno_code(EMFILE);
        const std::error_code stopped = gyre::errc::stopped;
        CHECK((shortage != stopped && stopped != shortage));
        CHECK(!gyre::describe(shortage).empty());

        rlimit usual_limit{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual_limit) == 0);
        rlimit small = usual_limit;
        small.rlim_cur = 64;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &small) == 0);

        int ended = 0;
        int peak = 0;
        int now = 0;
        auto session = [&](gyre::stream peer) -> gyre::task<> {
            peak = std::max(peak, ++now);
            co_await echo(std::move(peer));
            --now;
            ++ended;
        };
        rusage begun{};
        ::getrusage(RUSAGE_SELF, &begun);
        auto until_served = [&]() -> gyre::task<> {
            const auto limit = gyre::clock::now() + 30s;
            while (ended < clients && gyre::clock::now() < limit) {
                const auto rested = co_await gyre::sleep_for(1ms);
                CHECK(rested);
            }
        };
        co_await serve_while(listener, session, {}, until_served);
        rusage used{};
        ::getrusage(RUSAGE_SELF, &used);
        ::setrlimit(RLIMIT_NOFILE, &usual_limit);
        int status = -1;
        REQUIRE(::waitpid(child, &status, 0) == child);

        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
        CHECK(ended == clients);
        CHECK(peak < 64);
        CHECK(test::open_descriptors() == before - 1);
        const auto accepts =
            gyre::scheduler::current().counters().completions[gyre::detail::uapi::op_accept];
        CHECK(accepts.succeeded == static_cast<std::uint64_t>(clients));
        CHECK(accepts.failed > 0U);
        // At most one for each session that ends, and some while the clients rest.
        CHECK(accepts.failed < 2U * clients);
        const auto microseconds = [](const rusage& of) {
            return (of.ru_utime.tv_sec + of.ru_stime.tv_sec) * 1'000'000L + of.ru_utime.tv_usec +
                   of.ru_stime.tv_usec;
        };
        MESSAGE(
            "accepts that failed: ",
            accepts.failed,
            ", CPU: ",
            microseconds(used) - microseconds(begun),
            " us",
            ", lines in the log: ",
            captured_log::lines().size()
        );
        // The log tells of the shortage, and not once for every connection.
        CHECK(!captured_log::lines().empty());
        CHECK(captured_log::lines().size() < 20U);
    });
}

TEST_CASE("raise_descriptor_limit raises the soft limit to the hard one") {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit small = before;
    small.rlim_cur = 100;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &small) == 0);
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        gyre::serve_options options;
        options.raise_descriptor_limit = true;
        auto clients = [&]() -> gyre::task<> {
            auto peer = co_await connect_to(listener);
            const bool back_14 = co_await echoes(peer, "x");
            CHECK(back_14);
        };
        co_await serve_while(listener, echo, options, clients);
    });
    rlimit after{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &after) == 0);
    CHECK(after.rlim_cur == before.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &before);
}

namespace {

gyre::task<> echo_messages(gyre::seqpacket peer) {
    std::array<std::byte, 1024> buffer;
    for (;;) {
        const auto received = co_await gyre::idle(peer.recv(buffer));
        if (!received) {
            co_return;
        }
        const auto sent = co_await peer.send(std::span(buffer).first(received->stored()));
        if (!sent) {
            co_return;
        }
    }
}

gyre::task<gyre::seqpacket> connect_to(const gyre::seqpacket_listener& server) {
    auto made = co_await gyre::or_throw(gyre::seqpacket::connect(server.local_endpoint().value()));
    co_return made;
}

// What the peer answers to `text`, or the error.
gyre::task<std::string> ask(gyre::seqpacket& peer, std::string text) {
    const auto sent = co_await peer.send(test::bytes_of(text));
    CHECK(sent);
    std::array<std::byte, 1024> buffer;
    const auto received = co_await peer.recv(buffer);
    if (!received) {
        co_return gyre::describe(received.error());
    }
    co_return std::string(test::text_of(std::span(buffer).first(received->stored())));
}

} // namespace

TEST_CASE("serve takes seqpacket listeners, one or several, within one limit, and drains") {
    test::on_every_engine([]() -> gyre::task<> {
        std::array<gyre::seqpacket_listener, 2> listeners = {
            gyre::seqpacket_listener::bind("unix:"), gyre::seqpacket_listener::bind("unix:")
        };
        std::size_t now = 0;
        std::size_t peak = 0;
        std::size_t right = 0;
        auto session = [&](gyre::seqpacket peer) -> gyre::task<> {
            peak = std::max(peak, ++now);
            co_await echo_messages(std::move(peer));
            --now;
        };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await gyre::serve(std::span(listeners), session, {.connections_max = 3});
            });
            auto clients = [&](gyre::scope& all) -> gyre::task<> {
                for (std::size_t index = 0; index < 30; ++index) {
                    all.spawn([&, index]() -> gyre::task<> {
                        auto peer = co_await connect_to(listeners[index % 2]);
                        const std::string text = "from client " + std::to_string(index);
                        const std::string back = co_await ask(peer, text);
                        right += back == text ? 1U : 0U;
                    });
                }
                const auto joined = co_await all.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(clients);
            // One that waits for its next message when the stop is asked for.
            auto last = co_await connect_to(listeners[0]);
            const std::string back = co_await ask(last, "");
            CHECK(back.empty());
            CHECK(now == 1U);
            scope.request_stop();
            const auto joined = co_await scope.join();
            CHECK(joined);
            CHECK(now == 0U);
            std::array<std::byte, 8> buffer;
            const auto over = co_await last.recv(buffer);
            CHECK(over.error() == gyre::errc::end_of_stream);
        };
        co_await gyre::with_scope(body);
        CHECK(right == 30U);
        CHECK(peak == 3U);
        for (const gyre::seqpacket_listener& each : listeners) {
            CHECK(!each.is_open());
        }
    });
}

TEST_CASE("what goes on after drain_for, or beyond session_limit, is canceled: of seqpackets too") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool limited : {false, true}) {
            auto listener = gyre::seqpacket_listener::bind("unix:");
            std::error_code ended_by;
            bool begun = false;
            auto session = [&](gyre::seqpacket peer) -> gyre::task<gyre::result<void>> {
                begun = true;
                std::array<std::byte, 8> buffer;
                const auto received = co_await peer.recv(buffer); // Not idle: a stop leaves it.
                ended_by = received.error();
                co_return received.error();
            };
            gyre::serve_options options;
            options.drain_for = 2ms;
            if (limited) {
                options.drain_for = 1h;
                options.session_limit = 2ms;
            }
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    co_await gyre::serve(listener, session, options);
                });
                auto peer = co_await connect_to(listener);
                if (!limited) {
                    while (!begun) {
                        co_await gyre::yield();
                    }
                    scope.request_stop();
                }
                std::array<std::byte, 8> buffer;
                const auto over = co_await peer.recv(buffer);
                CHECK(over.error() == gyre::errc::end_of_stream);
                scope.request_stop();
                const auto joined = co_await scope.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(body);
            CHECK(ended_by == gyre::errno_code(ECANCELED));
        }
    });
}

TEST_CASE("an exception or a failed result of a seqpacket session goes to the hook, and it goes on"
) {
    test::on_every_engine([]() -> gyre::task<> {
        failures = 0;
        auto listener = gyre::seqpacket_listener::bind("unix:");
        auto session = [](gyre::seqpacket peer) -> gyre::task<gyre::result<void>> {
            std::array<std::byte, 8> buffer;
            const auto received = co_await peer.recv(buffer);
            const auto text = test::text_of(std::span(buffer).first(received.value().stored()));
            if (text == "throw") {
                throw std::runtime_error("the session's own trouble");
            }
            if (text == "fail") {
                co_return gyre::errno_code(EPROTO);
            }
            const auto sent = co_await peer.send(test::bytes_of("fine"));
            CHECK(sent);
            co_return gyre::result<void>();
        };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                co_await gyre::serve(listener, session, {.on_session_error = &note_failure});
            });
            for (const std::string text : {"throw", "fail"}) {
                auto bad = co_await connect_to(listener);
                const std::string answer = co_await ask(bad, text);
                CHECK(answer == gyre::describe(gyre::errc::end_of_stream));
            }
            CHECK(failures == 2U);
            CHECK(last_failure == gyre::describe(gyre::errno_code(EPROTO)));
            auto good = co_await connect_to(listener);
            const std::string answer = co_await ask(good, "hello");
            CHECK(answer == "fine");
            scope.request_stop();
        };
        co_await gyre::with_scope(body);
        CHECK(!listener.is_open());
    });
}

TEST_SUITE_END();
