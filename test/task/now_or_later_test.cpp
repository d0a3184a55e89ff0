#include <gyre/task/now_or_later.hpp>

#include <gyre/detail/frame_pool.hpp>

#include "support/test.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <tuple>

using namespace std::chrono_literals;

namespace {

gyre::task<gyre::result<int>> after_a_turn(int value) {
    co_await gyre::yield();
    co_return value;
}

gyre::task<gyre::result<int>> never() {
    const auto slept = co_await gyre::sleep_for(1h);
    co_return slept.error();
}

enum class way { at_once, by_task, hangs, throws, task_throws };

struct number {
    using result_type = gyre::result<int>;
    std::optional<result_type> now() {
        ++*tries;
        if (how == way::throws) {
            throw std::runtime_error("at once");
        }
        return how == way::at_once ? std::optional<result_type>(value) : std::nullopt;
    }
    gyre::task<result_type> later() {
        if (how == way::hangs) {
            return never();
        }
        if (how == way::task_throws) {
            return []() -> gyre::task<result_type> {
                co_await gyre::yield();
                throw std::runtime_error("later");
            }();
        }
        return after_a_turn(value);
    }
    way how;
    int value;
    int* tries;
};

} // namespace

TEST_SUITE_BEGIN("task/now_or_later");

TEST_CASE("what is there is the outcome and takes no coroutine; otherwise a task brings it") {
    test::on_every_engine([]() -> gyre::task<> {
        int tries = 0;
        gyre::detail::frame_pool::drain();
        const auto there = co_await gyre::now_or_later(number{way::at_once, 1, &tries});
        CHECK(there.value() == 1);
        CHECK(gyre::detail::frame_pool::kept() == 0);
        const auto brought = co_await gyre::now_or_later(number{way::by_task, 2, &tries});
        CHECK(brought.value() == 2);
        CHECK(tries == 2);
    });
}

TEST_CASE("nothing is tried before it is awaited") {
    test::on_every_engine([]() -> gyre::task<> {
        int tries = 0;
        auto made = gyre::now_or_later(number{way::at_once, 1, &tries});
        CHECK(tries == 0);
        const auto there = co_await std::move(made);
        CHECK(there);
        CHECK(tries == 1);
    });
}

TEST_CASE("in a canceled scope what is there is had, and a wait is refused") {
    test::on_every_engine([]() -> gyre::task<> {
        int tries = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto there = co_await gyre::now_or_later(number{way::at_once, 1, &tries});
            CHECK(there.value() == 1);
            const auto refused = co_await gyre::now_or_later(number{way::hangs, 1, &tries});
            CHECK(refused.error() == std::errc::operation_canceled);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a cancel, a limit and a stop reach the task") {
    test::on_every_engine([]() -> gyre::task<> {
        int tries = 0;
        const auto limited =
            co_await gyre::with_timeout(gyre::now_or_later(number{way::hangs, 1, &tries}), 1ms);
        CHECK(limited.error() == gyre::errc::timed_out);
        const auto race = co_await gyre::when_any(
            gyre::now_or_later(number{way::hangs, 1, &tries}),
            gyre::now_or_later(number{way::by_task, 2, &tries})
        );
        CHECK(race.index == 1);
        CHECK(std::get<0>(race.outcomes).error() == std::errc::operation_canceled);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto stopped =
                    co_await gyre::idle(gyre::now_or_later(number{way::hangs, 1, &tries}));
                CHECK(stopped.error() == gyre::errc::stopped);
                const auto there =
                    co_await gyre::idle(gyre::now_or_later(number{way::at_once, 3, &tries}));
                CHECK(there.value() == 3);
            });
            co_await gyre::yield();
            scope.request_stop();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("an exception comes out of the await, from either way") {
    test::on_every_engine([]() -> gyre::task<> {
        int tries = 0;
        int caught = 0;
        for (const way how : {way::throws, way::task_throws}) {
            try {
                const auto none = co_await gyre::now_or_later(number{how, 1, &tries});
                static_cast<void>(none);
            } catch (const std::runtime_error&) {
                ++caught;
            }
        }
        CHECK(caught == 2);
    });
}

TEST_CASE("or_return takes its value or returns its error") {
    test::on_every_engine([]() -> gyre::task<> {
        auto adds = []() -> gyre::task<gyre::result<int>> {
            int tries = 0;
            const int one =
                co_await gyre::or_return(gyre::now_or_later(number{way::at_once, 1, &tries}));
            const int two =
                co_await gyre::or_return(gyre::now_or_later(number{way::by_task, 2, &tries}));
            co_return one + two;
        };
        const auto sum = co_await adds();
        CHECK(sum.value() == 3);
    });
}

TEST_SUITE_END();
