#include <gyre/task/sleep.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <optional>
#include <system_error>
#include <vector>

#include <sys/resource.h>

namespace {

using namespace std::chrono_literals;

constexpr gyre::scheduler_options tiny_completion_queue{
    .submission_entries = 2, .completion_entries = 2
};

// The soft limit of descriptors at the hard one, as long as it lives.
class descriptor_limit_raised {
public:
    descriptor_limit_raised() {
        CHECK(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        rlimit raised = before_;
        raised.rlim_cur = raised.rlim_max;
        CHECK(::setrlimit(RLIMIT_NOFILE, &raised) == 0);
    }
    ~descriptor_limit_raised() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    descriptor_limit_raised(const descriptor_limit_raised&) = delete;
    descriptor_limit_raised& operator=(const descriptor_limit_raised&) = delete;

    std::size_t left() const { return before_.rlim_max - test::open_descriptors(); }

private:
    rlimit before_{};
};

} // namespace

// The questions that every operation is asked, asked of timers; the table of answers is generated
// from these names.
TEST_SUITE_BEGIN("operation/timer");

TEST_CASE("timer, full: a sleep lasts as long as it was told, never less") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const auto duration : {0us, 1us, 260us, 1000us, 3300us}) {
            const auto begun = gyre::clock::now();
            const auto slept = co_await gyre::sleep_for(duration);
            CHECK(slept);
            CHECK(gyre::clock::now() - begun >= duration);
        }
        const auto until = gyre::clock::now() + 2ms;
        const auto slept = co_await gyre::sleep_until(until);
        CHECK(slept);
        CHECK(gyre::clock::now() >= until);
    });
}

TEST_CASE("timer, stop before submission: a sleep in a canceled scope is refused at once") {
    test::on_every_engine([]() -> gyre::task<> {
        std::error_code seen;
        const auto begun = gyre::clock::now();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto slept = co_await gyre::sleep_for(1h);
            seen = slept.error();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        CHECK(gyre::clock::now() - begun < 1min);
    });
}

TEST_CASE("timer, stop in flight: a sleep ends when it is canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        std::size_t canceled = 0;
        const auto begun = gyre::clock::now();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (int index = 0; index < 1000; ++index) {
                scope.spawn([&, index]() -> gyre::task<> {
                    const auto slept = co_await gyre::sleep_for(1h + index * 1s);
                    canceled += slept.error() == gyre::errno_code(ECANCELED) ? 1U : 0U;
                });
            }
            const auto slept = co_await gyre::sleep_for(2ms);
            CHECK(slept);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(canceled == 1000U);
        CHECK(gyre::clock::now() - begun < 1min);
    });
}

TEST_CASE("timer, stop after completion: a sleep that was over stays over") {
    test::on_every_engine([]() -> gyre::task<> {
        std::optional<gyre::result<void>> outcome;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto at = gyre::clock::now() + 200ms; // Enough for both to be armed before.
            scope.spawn([&, at]() -> gyre::task<> {
                co_await gyre::yield(); // So that its timer stands behind the other one.
                auto slept = co_await gyre::sleep_until(at);
                outcome.emplace(slept);
                saw_stop = gyre::this_task::canceled();
            });
            // Both are due in one tick, so both fire before either task goes on.
            const auto slept = co_await gyre::sleep_until(at);
            CHECK(slept);
            CHECK(!outcome.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        REQUIRE(outcome.has_value());
        CHECK(outcome->has_value());
        CHECK(saw_stop);
    });
}

TEST_CASE("timer, submission queue full: 10,000 limits expire at once on a queue of 8") {
    gyre::scheduler_options options;
    options.submission_entries = 8;
    test::on_every_engine(options, []() -> gyre::task<> {
        constexpr std::size_t count = 10'000;
        // Receives as far as descriptors go, two a pair; sleeps for the rest.
        const descriptor_limit_raised raised;
        std::vector<gyre::stream_pair> pairs;
        for (std::size_t left = raised.left(); pairs.size() < count / 2 && left > 100; left -= 2) {
            pairs.push_back(gyre::stream::pair());
        }
        std::size_t timed_out = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            auto receive = [&](gyre::stream& from) -> gyre::task<> {
                std::array<std::byte, 4> buffer{};
                const auto received = co_await gyre::with_timeout(from.recv(buffer), 50ms);
                timed_out += received.error() == gyre::errc::timed_out ? 1U : 0U;
            };
            for (gyre::stream_pair& each : pairs) {
                scope.spawn(receive(each.first));
                scope.spawn(receive(each.second));
            }
            for (std::size_t index = pairs.size() * 2; index < count; ++index) {
                scope.spawn([&]() -> gyre::task<> {
                    const auto slept = co_await gyre::with_timeout(gyre::sleep_for(1h), 50ms);
                    timed_out += slept.error() == gyre::errc::timed_out ? 1U : 0U;
                });
            }
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(timed_out == count);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("timer, completion queue overflow: limits of many receives expire and none is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        constexpr std::size_t count = 300;
        std::vector<gyre::stream_pair> pairs;
        for (std::size_t index = 0; index < count; ++index) {
            pairs.push_back(gyre::stream::pair());
        }
        std::size_t timed_out = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& each : pairs) {
                scope.spawn([&]() -> gyre::task<> {
                    std::array<std::byte, 4> buffer{};
                    const auto received = co_await gyre::with_timeout(each.first.recv(buffer), 5ms);
                    timed_out += received.error() == gyre::errc::timed_out ? 1U : 0U;
                });
            }
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(timed_out == count);
        const auto counters = gyre::scheduler::current().counters();
        CHECK(counters.completion_queue_overflow > 0);
        CHECK(counters.submission_queue_full > 0);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
    });
}

TEST_CASE("timer, destroyed while idle: a sleep that nobody awaits fires nowhere") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = gyre::scheduler::current().counters().timers_fired;
        {
            const auto unused = gyre::sleep_for(0ms);
            static_cast<void>(unused);
        }
        for (int turn = 0; turn < 5; ++turn) {
            co_await gyre::yield();
        }
        CHECK(gyre::scheduler::current().counters().timers_fired == before);
    });
}

TEST_SUITE_END();
