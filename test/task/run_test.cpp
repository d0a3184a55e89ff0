#include <gyre/task/run.hpp>

#include <gyre/ring/engine.hpp>

#include "support/test.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

TEST_SUITE_BEGIN("task/run");

namespace {

using namespace std::chrono_literals;

std::string hook_saw; // Written and read by the test's thread.

void note_exception(std::exception_ptr thrown) noexcept {
    try {
        std::rethrow_exception(std::move(thrown));
    } catch (const std::exception& error) {
        hook_saw += error.what();
    } catch (...) {
        hook_saw += "something";
    }
}

class replaced_hook {
public:
    replaced_hook() noexcept : previous_(gyre::set_unhandled_hook(&note_exception)) {
        hook_saw.clear();
    }
    ~replaced_hook() { gyre::set_unhandled_hook(previous_); }
    replaced_hook(const replaced_hook&) = delete;
    replaced_hook& operator=(const replaced_hook&) = delete;

private:
    gyre::unhandled_hook previous_;
};

std::string log_saw;
void note_line(gyre::log_level, std::string_view line) noexcept {
    log_saw += line;
    log_saw += '\n';
}

gyre::scheduler_options on(gyre::engine_kind engine) {
    gyre::scheduler_options options;
    options.engine = engine;
    return options;
}

gyre::task<int> add(int one, std::unique_ptr<int> other) {
    co_await gyre::yield();
    co_return one + *other;
}

gyre::task<> clear(bool& flag) {
    flag = false;
    co_return;
}

} // namespace

TEST_CASE("run returns what the main task yields") {
    const int number = gyre::run([]() -> gyre::task<int> { co_return 3; });
    CHECK(number == 3);
    const auto owned = gyre::run([]() -> gyre::task<std::unique_ptr<std::string>> {
        co_await gyre::yield();
        co_return std::make_unique<std::string>("text");
    });
    CHECK(*owned == "text");
    bool ran = false;
    gyre::run([&]() -> gyre::task<> {
        ran = true;
        co_return;
    });
    CHECK(ran);
}

TEST_CASE("run throws what the main task throws, at once or later") {
    for (const int yields : {0, 3}) {
        CHECK_THROWS_WITH_AS(
            gyre::run([yields]() -> gyre::task<> {
                for (int i = 0; i < yields; ++i) {
                    co_await gyre::yield();
                }
                throw std::runtime_error("main");
            }),
            "main",
            std::runtime_error
        );
    }
}

TEST_CASE("run passes its arguments to the callable and keeps both") {
    for (const gyre::engine_kind engine : test::engines()) {
        const int sum = gyre::run(on(engine), add, 2, std::make_unique<int>(5));
        CHECK(sum == 7);
        const std::string text(100, 'r');
        const auto size = gyre::run(on(engine), [text]() -> gyre::task<std::size_t> {
            co_await gyre::yield();
            co_return text.size();
        });
        CHECK(size == 100);
    }
}

TEST_CASE("run takes a task that was made before") {
    CHECK(gyre::run(add(1, std::make_unique<int>(2))) == 3);
    auto made = add(2, std::make_unique<int>(2));
    CHECK(gyre::run(std::move(made), on(test::engines().front())) == 4);
}

TEST_CASE("run makes its scheduler as the options say") {
    gyre::scheduler_options options;
    options.submission_entries = 8;
    options.completion_entries = 64;
    test::on_every_engine(options, []() -> gyre::task<> {
        const gyre::engine_report& report = gyre::scheduler::current().report();
        CHECK(report.submission_entries == 8);
        CHECK(report.completion_entries == 64);
        co_return;
    });
}

TEST_CASE("run can be called again and again, and on several threads at once") {
    std::atomic<int> sum{0};
    auto several = [&] {
        for (int i = 0; i < 5; ++i) {
            sum += gyre::run(add(1, std::make_unique<int>(1)));
        }
    };
    {
        std::jthread other(several);
        several();
    }
    CHECK(sum == 20);
}

TEST_CASE("a spawned task runs beside the main task") {
    test::on_every_engine([]() -> gyre::task<> {
        bool ran = false;
        gyre::spawn(
            [&](std::unique_ptr<int> value) -> gyre::task<> {
                co_await gyre::yield();
                ran = *value == 3;
            },
            std::make_unique<int>(3)
        );
        while (!ran) {
            co_await gyre::yield();
        }
        gyre::spawn(clear(ran));
        while (ran) {
            co_await gyre::yield();
        }
    });
}

TEST_CASE("tasks that are left when the main task ends are canceled and joined") {
    for (const gyre::engine_kind engine : test::engines()) {
        std::string events;
        std::error_code saw;
        gyre::run(on(engine), [&]() -> gyre::task<> {
            gyre::spawn([&]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(1h);
                saw = slept.error();
                co_await gyre::yield();
                events += 's';
            });
            co_await gyre::yield();
            events += 'm';
        });
        CHECK(saw == gyre::errno_code(ECANCELED));
        CHECK(events == "ms");
    }
}

TEST_CASE("tasks that are left when the main task throws are canceled and joined") {
    bool canceled = false;
    CHECK_THROWS_AS(
        gyre::run([&]() -> gyre::task<> {
            gyre::spawn([&]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(1h);
                canceled = slept.error() == gyre::errno_code(ECANCELED);
            });
            co_await gyre::yield();
            throw std::runtime_error("main");
        }),
        std::runtime_error
    );
    CHECK(canceled);
}

TEST_CASE("a task spawned during the teardown is canceled and joined, too") {
    std::error_code saw;
    gyre::run([&]() -> gyre::task<> {
        gyre::spawn([&]() -> gyre::task<> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK_FALSE(slept);
            gyre::spawn([&]() -> gyre::task<> {
                const auto late = co_await gyre::sleep_for(1h);
                saw = late.error();
            });
        });
        co_await gyre::yield();
    });
    CHECK(saw == gyre::errno_code(ECANCELED));
}

TEST_CASE("an exception of a spawned task goes to the hook and cancels nobody") {
    const replaced_hook hook;
    test::on_every_engine([]() -> gyre::task<> {
        hook_saw.clear();
        bool other_canceled = false;
        bool over = false;
        gyre::spawn([]() -> gyre::task<> {
            co_await gyre::yield();
            throw std::runtime_error("spawned");
        });
        gyre::spawn([&]() -> gyre::task<> {
            const auto slept = co_await gyre::sleep_for(2ms);
            other_canceled = !slept;
            over = true;
        });
        while (!over) {
            co_await gyre::yield();
        }
        CHECK(hook_saw == "spawned");
        CHECK_FALSE(other_canceled);
    });
}

TEST_CASE("a failed result of a spawned task is a line in the log and cancels nobody") {
    log_saw.clear();
    const gyre::log_hook previous = gyre::set_log_hook(&note_line);
    gyre::run([]() -> gyre::task<> {
        gyre::spawn([]() -> gyre::task<gyre::result<void>> { co_return gyre::errno_code(EPROTO); });
        co_await gyre::yield();
        co_await gyre::yield();
        CHECK_FALSE(gyre::this_task::canceled());
    });
    gyre::set_log_hook(previous);
    CHECK(log_saw.find("EPROTO") != std::string::npos);
}

TEST_CASE("a task that does not end in the time for the teardown is named and left behind") {
    log_saw.clear();
    const gyre::log_hook previous = gyre::set_log_hook(&note_line);
    gyre::scheduler_options options;
    options.teardown_limit = 20ms;
    static unsigned line = 0; // The task outlives what this test owns.
    gyre::run(options, []() -> gyre::task<> {
        gyre::spawn([]() -> gyre::task<> {
            for (;;) {
                line = __LINE__ + 1;
                const auto slept = co_await gyre::sleep_for(1h);
                static_cast<void>(slept);
            }
        });
        co_await gyre::yield();
    });
    gyre::set_log_hook(previous);
    CHECK(log_saw.find("does not end although it is canceled") != std::string::npos);
    CHECK(log_saw.find("run_test.cpp:" + std::to_string(line)) != std::string::npos);
}

TEST_CASE("a scheduler can be driven turn by turn, and a task spawned into it from outside") {
    int ended = 0;
    {
        gyre::scheduler driven;
        const auto posted = driven.handle().post([&]() noexcept {
            gyre::spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                const auto slept = co_await gyre::sleep_for(1ms);
                CHECK(slept);
                ++ended;
            });
        });
        CHECK(posted);
        for (int turn = 0; turn < 1'000'000 && ended == 0; ++turn) {
            driven.turn();
        }
    }
    CHECK(ended == 1);
}

TEST_CASE("posting to a scheduler that has ended answers closed, and the function is freed") {
    auto alive = std::make_shared<int>(1);
    const auto handle = gyre::run([]() -> gyre::task<gyre::scheduler_handle> {
        co_return gyre::scheduler::current().handle();
    });
    const auto posted = handle.post([alive]() noexcept {});
    CHECK(posted.error() == gyre::errc::closed);
    CHECK(alive.use_count() == 1);
}

TEST_SUITE_END();
