#include <gyre/scheduler/timer.hpp>

#include <gyre/ring/engine.hpp>

#include "support/test.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <system_error>
#include <thread>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
using gyre::detail::engine_time;
using gyre::detail::never;
using gyre::detail::timer_queue;

namespace {

constexpr engine_time tick = 1 << 18;
constexpr engine_time start = 1'000'000'000'000;

// A timer that says when it fired by the clock of the test.
struct recording_timer : gyre::detail::timer {
    explicit recording_timer(const engine_time& clock) noexcept
        : timer([](timer& base) noexcept {
              auto& self = static_cast<recording_timer&>(base);
              self.fired_at = *self.clock_;
              ++self.fired;
          }),
          clock_(&clock) {}

    engine_time deadline = 0;
    engine_time fired_at = 0;
    int fired = 0;

private:
    const engine_time* clock_;
};

// Turns as the run loop does, to the first deadline, until nothing is armed or `limit` is passed.
void run_until(timer_queue& wheel, engine_time& now, engine_time limit) {
    for (;;) {
        wheel.absorb(now);
        const engine_time next = wheel.next();
        REQUIRE(next >= 0);
        if (next > limit) {
            break;
        }
        now = next > now ? next : now;
        wheel.expire(now);
    }
    now = limit > now ? limit : now;
    wheel.expire(now);
}

} // namespace

TEST_SUITE_BEGIN("scheduler/timer");

TEST_CASE("a wheel without timers never wants to be called") {
    timer_queue wheel(start);

    CHECK(wheel.next() == never);
    CHECK(wheel.earliest() == never);
    CHECK(wheel.expire(start + 1'000'000'000) == 0);
}

TEST_CASE("a timer fires once, not before its deadline and at most a tick after it") {
    for (const engine_time duration :
         {engine_time{1},
          tick - 1,
          tick,
          tick + 1,
          63 * tick,
          64 * tick,
          65 * tick,
          4096 * tick,
          4097 * tick,
          engine_time{3'600'000'000'000},
          engine_time{86'400'000'000'000'000}}) {
        INFO("duration: ", duration);
        engine_time now = start + 12345;
        timer_queue wheel(start);
        recording_timer timer(now);
        const engine_time deadline = now + duration;

        wheel.arm_after(timer, duration);
        CHECK(timer.armed());
        run_until(wheel, now, deadline + 10 * tick);

        CHECK(timer.fired == 1);
        CHECK(timer.fired_at >= deadline);
        CHECK(timer.fired_at <= deadline + tick);
        CHECK(!timer.armed());
        CHECK(wheel.next() == never);
    }
}

TEST_CASE("a deadline that has passed, zero and a negative duration are due within a tick") {
    for (const engine_time duration : {engine_time{0}, engine_time{-1}, -never}) {
        INFO("duration: ", duration);
        engine_time now = start;
        timer_queue wheel(now);
        recording_timer relative(now);
        recording_timer absolute(now);

        wheel.arm_after(relative, duration);
        wheel.arm_at(absolute, duration);
        run_until(wheel, now, start + tick);

        CHECK(relative.fired == 1);
        CHECK(absolute.fired == 1);
    }
}

TEST_CASE("a timer that is armed for never does not fire and asks for no call in the past") {
    for (const engine_time far : {never, never - 1, never - tick, never - 2 * tick, never / 2}) {
        INFO("deadline: ", far);
        engine_time now = start;
        timer_queue wheel(now);
        recording_timer absolute(now);
        recording_timer relative(now);

        wheel.arm_at(absolute, far);
        wheel.arm_after(relative, far);
        wheel.absorb(now);

        CHECK(wheel.next() > now);
        CHECK(wheel.expire(now + 1'000'000'000) == 0);
        CHECK(wheel.next() > now);
        CHECK(absolute.armed());
        CHECK(relative.armed());
    }
}

TEST_CASE("a near timer fires on time beside one that is armed for never") {
    engine_time now = start;
    timer_queue wheel(now);
    recording_timer far(now);
    recording_timer near(now);

    wheel.arm_at(far, never);
    wheel.arm_after(near, 5'000'000);
    run_until(wheel, now, start + 6'000'000);

    CHECK(near.fired == 1);
    CHECK(near.fired_at >= start + 5'000'000);
    CHECK(far.fired == 0);
}

TEST_CASE("a disarmed timer does not fire, wherever it waited") {
    for (const engine_time duration : {engine_time{0}, tick, 100 * tick, 5000 * tick, never}) {
        INFO("duration: ", duration);
        engine_time now = start;
        timer_queue wheel(now);
        recording_timer before_absorb(now);
        recording_timer after_absorb(now);

        wheel.arm_after(before_absorb, duration);
        before_absorb.disarm();
        wheel.arm_after(after_absorb, duration);
        wheel.absorb(now);
        after_absorb.disarm();
        after_absorb.disarm();

        CHECK(wheel.next() == never);
        wheel.expire(start + 10'000 * tick);
        CHECK(before_absorb.fired == 0);
        CHECK(after_absorb.fired == 0);
    }
}

TEST_CASE("a timer disarms itself when it goes") {
    engine_time now = start;
    timer_queue wheel(now);
    {
        recording_timer gone(now);
        wheel.arm_after(gone, 5 * tick);
        wheel.absorb(now);
    }

    CHECK(wheel.expire(start + 100 * tick) == 0);
}

TEST_CASE("a timer that fires may disarm others that are due in the same tick") {
    struct killer : gyre::detail::timer {
        killer() noexcept
            : timer([](timer& base) noexcept {
                  auto& self = static_cast<killer&>(base);
                  ++self.fired;
                  for (killer* other : self.others) {
                      other->disarm();
                  }
              }) {}
        std::vector<killer*> others;
        int fired = 0;
    };
    timer_queue wheel(start);
    std::vector<std::unique_ptr<killer>> all;
    for (int count = 0; count < 10; ++count) {
        all.push_back(std::make_unique<killer>());
    }
    for (const auto& each : all) {
        for (const auto& other : all) {
            each->others.push_back(other.get()); // Itself too, which is no longer armed.
        }
        wheel.arm_at(*each, start + 5);
    }
    wheel.absorb(start);

    CHECK(wheel.expire(start + 10 * tick) == 1);

    int fired = 0;
    for (const auto& each : all) {
        fired += each->fired;
    }
    CHECK(fired == 1);
}

TEST_CASE("a timer that arms itself again as it fires waits for the next turn") {
    struct repeating : gyre::detail::timer {
        explicit repeating(timer_queue& of) noexcept
            : timer([](timer& base) noexcept {
                  auto& self = static_cast<repeating&>(base);
                  ++self.fired;
                  self.wheel.arm_after(self, 0);
              }),
              wheel(of) {}
        timer_queue& wheel;
        int fired = 0;
    };
    timer_queue wheel(start);
    repeating timer(wheel);
    wheel.arm_at(timer, 0);
    engine_time now = start;

    for (int turn = 1; turn <= 5; ++turn) {
        wheel.absorb(now);
        wheel.expire(now);
        CHECK(timer.fired == turn);
        now += 2 * tick;
    }
}

// Against a multimap: what is due fires, nothing else does, and nothing is late by more than a
// tick of the wheel.
TEST_CASE("200,000 random timers fire when a sorted list says, and never early") {
    std::mt19937_64 random(20240607);
    const auto below = [&](std::uint64_t bound) {
        return static_cast<engine_time>(random() % bound);
    };
    const auto random_duration = [&]() -> engine_time {
        switch (random() % 8) {
        case 0:
            return below(4) - 2;
        case 1:
            return below(tick);
        case 2:
            return (below(200))*tick + below(3) - 1;
        case 3:
            return below(std::uint64_t{64} * 64 * tick);
        case 4:
            return below(std::uint64_t{64} * 64 * 64 * 64 * tick);
        case 5:
            return below(never) / 2;
        default:
            return below(100'000'000);
        }
    };

    engine_time now = start + 777;
    timer_queue wheel(now);
    std::vector<std::unique_ptr<recording_timer>> timers;
    for (int count = 0; count < 2000; ++count) {
        timers.push_back(std::make_unique<recording_timer>(now));
    }
    std::multimap<engine_time, recording_timer*> expected;
    const auto forget = [&](recording_timer& which) {
        for (auto [at, end] = expected.equal_range(which.deadline); at != end; ++at) {
            if (at->second == &which) {
                expected.erase(at);
                return;
            }
        }
        FAIL("an armed timer is not in the list");
    };

    std::size_t fired = 0;
    for (int action = 0; action < 200'000; ++action) {
        recording_timer& which = *timers[random() % timers.size()];
        if (which.armed()) {
            forget(which);
            which.disarm();
        }
        if (random() % 4 != 0) {
            const engine_time duration = random_duration();
            which.deadline = now + duration;
            if (random() % 2 == 0) {
                wheel.arm_after(which, duration);
            } else {
                wheel.arm_at(which, which.deadline);
            }
            expected.emplace(which.deadline, &which);
            wheel.absorb(now);
        }
        if (random() % 16 != 0) {
            continue;
        }
        // Sometimes exactly when the wheel asks to be called, sometimes sooner, sometimes later.
        const engine_time next = wheel.next();
        const bool on_time = random() % 2 == 0 && next != never;
        const engine_time to = on_time ? next : now + below(std::uint64_t{1} << (random() % 36));
        if (!expected.empty()) {
            const engine_time first = expected.begin()->first;
            REQUIRE(next <= (first > now ? first : now) + tick);
        }
        now = to > now && to < never / 4 ? to : now;
        wheel.expire(now);
        while (!expected.empty() && expected.begin()->first <= now - tick) {
            REQUIRE(expected.begin()->second->fired_at == now);
            REQUIRE(!expected.begin()->second->armed());
            expected.erase(expected.begin());
            ++fired;
        }
        for (auto at = expected.begin(); at != expected.end() && at->first <= now;) {
            const bool gone = !at->second->armed();
            fired += gone ? 1 : 0;
            at = gone ? expected.erase(at) : std::next(at);
        }
        // Whoever is left has not fired, so nobody was early.
        if (action % 64 == 0) {
            for (const auto& [deadline, timer] : expected) {
                REQUIRE(timer->armed());
            }
        }
    }
    CHECK(fired > 1000);
}

TEST_CASE("sleep_for and sleep_until wait at least as long as asked, in the order of deadlines") {
    test::on_every_engine([]() -> gyre::task<> {
        std::vector<int> order;
        const auto sleeper = [&order](int name, std::chrono::nanoseconds limit) -> gyre::task<> {
            const auto before = gyre::clock::now();
            const auto slept = co_await gyre::sleep_for(limit);
            CHECK(slept);
            CHECK(gyre::clock::now() - before >= limit);
            order.push_back(name);
        };
        const auto until = [&order](int name, gyre::clock::time_point time) -> gyre::task<> {
            const auto slept = co_await gyre::sleep_until(time);
            CHECK(slept);
            CHECK(gyre::clock::now() >= time);
            order.push_back(name);
        };

        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn(sleeper, 3, 150ms);
            scope.spawn(until, 2, gyre::clock::now() + 100ms);
            scope.spawn(sleeper, 1, 50ms);
            scope.spawn(sleeper, 0, -1s);
            co_return;
        };
        co_await gyre::with_scope(body);

        CHECK(order == std::vector<int>{0, 1, 2, 3});
    });
}

TEST_CASE("a sleep canceled before it starts is refused and waits for nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK(slept.error() == std::errc::operation_canceled);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a sleep that is canceled while it waits ends at once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(1h);
                CHECK(slept.error() == std::errc::operation_canceled);
            });
            co_await gyre::yield();
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a sleep canceled in the turn in which it ended has ended") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& scope) -> gyre::task<> {
            const auto at = gyre::clock::now() + 100ms;
            int armed = 0;
            bool in_time = false; // Unless the processor was gone for so long.
            scope.spawn([&]() -> gyre::task<> {
                ++armed;
                const auto slept = co_await gyre::sleep_until(at);
                CHECK(slept);
                scope.cancel();
            });
            scope.spawn([&]() -> gyre::task<> {
                ++armed;
                const auto slept = co_await gyre::sleep_until(at);
                CHECK((slept || !in_time));
            });
            while (armed != 2) {
                co_await gyre::yield();
            }
            in_time = gyre::clock::now() < at;
            while (gyre::clock::now() < at + 2ms) {
                // Holds the thread, so that both are due in the next turn.
            }
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a limit of an hour costs a task that ends at once nothing of that hour") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = gyre::clock::now();
        for (int count = 0; count < 1000; ++count) {
            const auto slept = co_await gyre::with_timeout(gyre::sleep_for(0s), 1h);
            CHECK(slept);
        }
        CHECK(gyre::clock::now() - before < 30s);
    });
}

TEST_CASE("a sleep of zero waits for one turn of the loop") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto turns = gyre::scheduler::current().counters().turns;
        const auto slept = co_await gyre::sleep_for(0s);
        CHECK(slept);
        CHECK(gyre::scheduler::current().counters().turns - turns <= 2);
    });
}

// The loop must sleep meanwhile: a deadline that overflowed would turn it without a pause.
TEST_CASE("a sleep until the end of time costs the loop no turns") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_until(gyre::clock::time_point::max());
                CHECK(slept.error() == std::errc::operation_canceled);
            });
            scope.spawn([]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(std::chrono::nanoseconds::max());
                CHECK(slept.error() == std::errc::operation_canceled);
            });
            co_await gyre::yield();
            auto pair = gyre::stream::pair();
            std::array<std::byte, 1> buffer;
            // Nothing but the two sleeps decides how long the loop waits: 50 ms pass outside.
            const int one = ::dup(pair.second.native_handle());
            const auto before = gyre::scheduler::current().counters().turns;
            std::thread later([one] {
                std::this_thread::sleep_for(50ms);
                CHECK(::write(one, "x", 1) == 1);
                ::close(one);
            });
            const auto received = co_await pair.first.recv(buffer);
            later.join();
            CHECK(received.value() == 1);
            CHECK(gyre::scheduler::current().counters().turns - before < 20);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a duration that nanoseconds cannot count is a very long time, not a negative one") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<std::byte, 1> buffer;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(std::chrono::hours::max());
                CHECK(slept.error() == std::errc::operation_canceled);
            });
            scope.spawn([&]() -> gyre::task<> {
                const auto got = co_await gyre::with_timeout(
                    pair.first.recv(buffer), std::chrono::seconds::max()
                );
                CHECK(got.error() == std::errc::operation_canceled);
            });
            const auto slept = co_await gyre::sleep_for(3ms);
            CHECK(slept);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();

// These look at the clock of the machine, so ctest runs them alone.
TEST_SUITE_BEGIN("scheduler/timing");

TEST_CASE("on an idle loop a sleep ends at most a millisecond after its deadline") {
    test::on_every_engine([]() -> gyre::task<> {
        std::vector<gyre::clock::duration> late;
        std::vector<gyre::clock::duration>
            system_late; // What this machine's own sleeps do meanwhile.
        for (int count = 0; count < 21; ++count) {
            const auto limit = 1ms + std::chrono::microseconds(173 * count);
            const auto begun = gyre::clock::now();
            std::this_thread::sleep_for(limit);
            system_late.push_back(gyre::clock::now() - begun - limit);
            const auto deadline = gyre::clock::now() + limit;
            const auto slept = co_await gyre::sleep_for(limit);
            const auto now = gyre::clock::now();
            REQUIRE(slept);
            REQUIRE(now >= deadline);
            late.push_back(now - deadline);
        }
        // One sleep may meet other work on the machine; most do not.
        std::nth_element(late.begin(), late.begin() + 10, late.end());
        std::nth_element(system_late.begin(), system_late.begin() + 10, system_late.end());
        CHECK(late[10] <= 1ms + system_late[10]);
    });
}

TEST_SUITE_END();
