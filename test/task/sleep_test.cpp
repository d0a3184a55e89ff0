#include <gyre/task/sleep.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>

TEST_SUITE_BEGIN("task/sleep");

namespace {

using namespace std::chrono_literals;

} // namespace

TEST_CASE("sleep_for never wakes early") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const auto duration : {100us, 1'000us, 3'000us}) {
            const auto before = gyre::clock::now();
            const auto slept = co_await gyre::sleep_for(duration);
            CHECK(slept);
            CHECK(gyre::clock::now() - before >= duration);
        }
    });
}

TEST_CASE("sleep_until waits for its time, and a time that has passed for one turn") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto wanted = gyre::clock::now() + 2ms;
        const auto slept = co_await gyre::sleep_until(wanted);
        CHECK(slept);
        CHECK(gyre::clock::now() >= wanted);

        const auto past = co_await gyre::sleep_until(gyre::clock::now() - 1h);
        CHECK(past);
        const auto zero = co_await gyre::sleep_for(0ms);
        CHECK(zero);
        const auto negative = co_await gyre::sleep_for(-1ms);
        CHECK(negative);
    });
}

TEST_CASE("the longest time of every unit does not pass, and can be canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        auto ended = co_await gyre::when_any(
            gyre::sleep_until(gyre::clock::time_point::max()),
            gyre::sleep_for(std::chrono::nanoseconds::max()),
            gyre::sleep_for(std::chrono::milliseconds::max()),
            gyre::sleep_for(std::chrono::hours::max()),
            gyre::sleep_for(1ms)
        );
        CHECK(ended.index == 4);
    });
}

TEST_CASE("sleepers wake in the order of their times, not of their starts") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            const auto start = gyre::clock::now();
            auto sleeper = [&](std::chrono::milliseconds time, char name) -> gyre::task<> {
                const auto slept = co_await gyre::sleep_until(start + time);
                CHECK(slept);
                events += name;
            };
            tasks.spawn(sleeper, 150ms, 'c');
            tasks.spawn(sleeper, 50ms, 'a');
            tasks.spawn(sleeper, 100ms, 'b');
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(events == "abc");
    });
}

TEST_CASE("a sleep is canceled before it starts and in flight") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                tasks.cancel();
            });
            const auto in_flight = co_await gyre::sleep_for(1h);
            CHECK(in_flight.error() == gyre::errno_code(ECANCELED));
            const auto refused = co_await gyre::sleep_for(1h);
            CHECK(refused.error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("task/yield");

TEST_CASE("yield lets every task that is ready run first") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            auto worker = [&](char name) -> gyre::task<> {
                for (int round = 0; round < 3; ++round) {
                    events += name;
                    co_await gyre::yield();
                }
            };
            tasks.spawn(worker, 'a');
            tasks.spawn(worker, 'b');
            tasks.spawn(worker, 'c');
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(events == "abcabcabc");
    });
}

TEST_CASE("tasks that do nothing but yield keep nobody from the network or from timers") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        bool done = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            for (int i = 0; i < 10; ++i) {
                tasks.spawn([&]() -> gyre::task<> {
                    while (!done) {
                        co_await gyre::yield();
                    }
                });
            }
            std::array<std::byte, 1> buffer;
            for (int round = 0; round < 100; ++round) {
                const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("x"));
                CHECK(sent);
                const auto received = co_await pair.server.recv(buffer);
                CHECK(received);
            }
            const auto slept = co_await gyre::sleep_for(1ms);
            CHECK(slept);
            done = true;
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a loop whose awaits all end at once lets others run all the same") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        bool done = false;
        long long rounds = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                while (!done) {
                    const auto sent = co_await gyre::send_all(pair.client, test::bytes_of(""));
                    CHECK(sent);
                    ++rounds;
                }
            });
            const auto slept = co_await gyre::sleep_for(1ms);
            CHECK(slept);
            done = true;
        };
        co_await gyre::with_scope(body);
        CHECK(rounds > 0);
    });
}

TEST_CASE("a loop that awaits tasks without end lets others run all the same") {
    test::on_every_engine([]() -> gyre::task<> {
        bool done = false;
        auto nothing = []() -> gyre::task<> { co_return; };
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                while (!done) {
                    co_await nothing();
                }
            });
            const auto slept = co_await gyre::sleep_for(1ms);
            CHECK(slept);
            done = true;
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("yield lets others run inside of an adaptor, too") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                events += 'c';
                co_return;
            });
            co_await gyre::shielded(gyre::yield());
            events += 'b';
        };
        co_await gyre::with_scope(body);
        CHECK(events == "cb");
    });
}

TEST_SUITE_END();
