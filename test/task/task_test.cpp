#include <gyre/task/task.hpp>

#include <gyre/detail/frame_pool.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/frames.hpp"
#include "support/test.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

TEST_SUITE_BEGIN("task/task");

namespace {

// Notes its own end, so that a test can tell in which order things went.
class noting {
public:
    noting(std::string& events, char name) noexcept : events_(&events), name_(name) {}
    noting(noting&& other) noexcept
        : events_(std::exchange(other.events_, nullptr)), name_(other.name_) {}
    noting& operator=(noting&&) = delete;
    ~noting() {
        if (events_ != nullptr) {
            *events_ += name_;
        }
    }

private:
    std::string* events_;
    char name_;
};

gyre::task<int> number(int value) {
    co_return value;
}

gyre::task<> nothing() {
    co_return;
}

} // namespace

TEST_CASE("a task yields the value of its co_return") {
    test::on_every_engine([]() -> gyre::task<> {
        const int value = co_await number(42);
        CHECK(value == 42);
    });
}

TEST_CASE("a task without a value can be awaited for its end alone") {
    test::on_every_engine([]() -> gyre::task<> {
        bool ran = false;
        auto setting = [](bool& flag) -> gyre::task<> {
            flag = true;
            co_return;
        };
        co_await setting(ran);
        CHECK(ran);
    });
}

TEST_CASE("a task yields a move-only value without copying it") {
    test::on_every_engine([]() -> gyre::task<> {
        auto making = []() -> gyre::task<std::unique_ptr<int>> {
            auto made = std::make_unique<int>(7);
            co_return made;
        };
        const std::unique_ptr<int> value = co_await making();
        REQUIRE(value != nullptr);
        CHECK(*value == 7);
    });
}

TEST_CASE("a task yields a value that has no default constructor, made from a braced list") {
    struct pair {
        pair(int one, std::string other) noexcept : number(one), text(std::move(other)) {}
        int number;
        std::string text;
    };
    test::on_every_engine([]() -> gyre::task<> {
        auto making = []() -> gyre::task<pair> { co_return {3, std::string(100, 'x')}; };
        const pair value = co_await making();
        CHECK(value.number == 3);
        CHECK(value.text.size() == 100);
    });
}

TEST_CASE("an exception passes from the task to whoever awaits it, through every level") {
    test::on_every_engine([]() -> gyre::task<> {
        auto throwing = []() -> gyre::task<int> {
            co_await gyre::yield();
            throw std::runtime_error("from below");
        };
        auto passing = [&]() -> gyre::task<int> {
            const int value = co_await throwing();
            co_return value + 1;
        };
        std::string caught;
        try {
            const int value = co_await passing();
            static_cast<void>(value);
        } catch (const std::runtime_error& error) {
            caught = error.what();
        }
        CHECK(caught == "from below");
    });
}

TEST_CASE("an exception before the first suspension passes to the awaiting task") {
    test::on_every_engine([]() -> gyre::task<> {
        auto throwing = [](bool really) -> gyre::task<> {
            if (really) {
                throw std::logic_error("at once");
            }
            co_return;
        };
        CHECK_THROWS_AS(co_await throwing(true), std::logic_error);
    });
}

TEST_CASE("an exception of the value's own constructor is the task's outcome") {
    struct hostile {
        hostile() { throw std::runtime_error("no value"); }
    };
    test::on_every_engine([]() -> gyre::task<> {
        auto making = []() -> gyre::task<hostile> { co_return hostile(); };
        bool caught = false;
        try {
            const hostile value = co_await making();
            static_cast<void>(value);
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
    });
}

TEST_CASE("a task does not start before it is awaited") {
    test::on_every_engine([]() -> gyre::task<> {
        bool started = false;
        auto starting = [](bool& flag) -> gyre::task<> {
            flag = true;
            co_return;
        };
        auto made = starting(started);
        co_await gyre::yield();
        CHECK_FALSE(started);

        co_await std::move(made);
        CHECK(started);
    });
}

TEST_CASE("a task destroyed before it started releases its parameters and runs nothing") {
    std::string events;
    {
        auto running = [](std::string& note, noting) -> gyre::task<> {
            note += "ran";
            co_return;
        };
        auto made = running(events, noting(events, 'p'));
        CHECK(events.empty());
    }
    CHECK(events == "p");
}

TEST_CASE("move assignment destroys the task that was there and keeps the other one") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto holding = [](noting, int value) -> gyre::task<int> { co_return value; };
        auto made = holding(noting(events, 'a'), 1);
        made = holding(noting(events, 'b'), 2);
        CHECK(events == "a");

        const int value = co_await std::move(made);
        CHECK(value == 2);
        CHECK(events == "ab");
    });
}

TEST_CASE("locals and parameters of a task are gone when its caller goes on") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto working = [](std::string& note, noting) -> gyre::task<int> {
            const noting first(note, '1');
            const noting second(note, '2');
            co_await gyre::yield();
            note += 'r';
            co_return 5;
        };
        const int value = co_await working(events, noting(events, 'p'));
        events += 'c';
        CHECK(value == 5);
        CHECK(events == "r21pc");
    });
}

TEST_CASE("locals and parameters of a task that throws are gone when its caller catches") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto throwing = [](std::string& note, noting) -> gyre::task<> {
            const noting local(note, 'l');
            co_await gyre::yield();
            throw std::runtime_error("over");
        };
        try {
            co_await throwing(events, noting(events, 'p'));
        } catch (const std::runtime_error&) {
            events += 'c';
        }
        CHECK(events == "lpc");
    });
}

TEST_CASE("a value outlives the frame of the task that made it") {
    test::on_every_engine([]() -> gyre::task<> {
        auto making = []() -> gyre::task<std::vector<int>> {
            std::vector<int> made(1000, 3);
            co_await gyre::yield();
            co_return made;
        };
        const std::vector<int> value = co_await making();
        CHECK(value == std::vector<int>(1000, 3));
    });
}

TEST_CASE("a million synchronous awaits in a row use no stack") {
    test::on_every_engine([]() -> gyre::task<> {
        long long sum = 0;
        for (int i = 0; i < 1'000'000; ++i) {
            const int value = co_await number(1);
            sum += value;
        }
        CHECK(sum == 1'000'000);
    });
}

TEST_CASE("a million awaited tasks without a value use no stack") {
    test::on_every_engine([]() -> gyre::task<> {
        int ended = 0;
        for (; ended < 1'000'000; ++ended) {
            co_await nothing();
        }
        CHECK(ended == 1'000'000);
    });
}

namespace {

gyre::task<int> descend(int depth) {
    if (depth == 0) {
        co_await gyre::yield();
        co_return 0;
    }
    const int below = co_await descend(depth - 1);
    co_return below + 1;
}

gyre::task<gyre::result<int>> descend_and_wait(int depth, bool& waiting) {
    if (depth == 0) {
        waiting = true;
        const auto slept = co_await gyre::sleep_for(std::chrono::hours(1));
        co_return slept.error();
    }
    const auto below = co_await descend_and_wait(depth - 1, waiting);
    co_return below;
}

gyre::task<int> descend_and_throw(int depth) {
    if (depth == 0) {
        throw std::runtime_error("at the bottom");
    }
    const int below = co_await descend_and_throw(depth - 1);
    co_return below + 1;
}

constexpr int deep = 100'000;

} // namespace

TEST_CASE("a chain of 100,000 nested awaits completes") {
    test::on_every_engine([]() -> gyre::task<> {
        const int depth = co_await descend(deep);
        CHECK(depth == deep);
    });
}

TEST_CASE("a chain of 100,000 nested awaits is canceled at its far end") {
    test::on_every_engine([]() -> gyre::task<> {
        std::error_code outcome;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            bool waiting = false;
            tasks.spawn([&]() -> gyre::task<> {
                const auto ended = co_await descend_and_wait(deep, waiting);
                outcome = ended.error();
            });
            while (!waiting) {
                co_await gyre::yield();
            }
            tasks.cancel();
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(outcome == std::errc::operation_canceled);
    });
}

TEST_CASE("an exception climbs a chain of 1,000 nested awaits") {
    test::on_every_engine([]() -> gyre::task<> {
        CHECK_THROWS_WITH_AS(
            co_await descend_and_throw(1'000), "at the bottom", std::runtime_error
        );
    });
}

TEST_CASE("the memory of a frame is used again by the next task of its size") {
    if (!test::recycles_frames) {
        test::skip("frames are not recycled under AddressSanitizer");
        return;
    }
    test::on_every_engine([]() -> gyre::task<> {
        co_await nothing();
        const std::size_t kept = gyre::detail::frame_pool::kept();
        CHECK(kept > 0);
        for (int i = 0; i < 1'000; ++i) {
            co_await nothing();
        }
        CHECK(gyre::detail::frame_pool::kept() == kept);
    });
}

TEST_CASE("a scheduler that ends gives the recycled frames of its thread back") {
    test::on_every_engine([]() -> gyre::task<> { co_await nothing(); });
    CHECK(gyre::detail::frame_pool::kept() == 0);
}

TEST_CASE("a frame keeps the file and line of its current await and whose task awaits it") {
    test::on_every_engine([]() -> gyre::task<> {
        auto looking = []() -> gyre::task<> {
            co_await gyre::yield();
            const unsigned line = __LINE__ - 1;
            const gyre::detail::frame* self = gyre::detail::run_loop::current()->running();
            REQUIRE(self != nullptr);
            CHECK(self->site.location().line() == line);
            CHECK(std::string(self->site.location().file_name()).ends_with("task_test.cpp"));
            REQUIRE(self->context.parent != nullptr);
            CHECK(self->context.parent->awaiting != nullptr);
            CHECK(std::string(self->context.parent->awaiting->name()) == "task");
        };
        co_await looking();
    });
}

TEST_SUITE_END();
