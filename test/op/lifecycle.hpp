#pragma once

// The questions that are asked of every operation. A subject is one operation on descriptors of its
// own: `begin()` yields its description, which has to wait until `make_ready()`, and then yields 4,
// or what its `right()` says is right.

#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/counters.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <memory>
#include <system_error>
#include <vector>

#include <signal.h>

namespace test {

using namespace std::chrono_literals;

template <class Body>
gyre::task<> in_scope(Body body) {
    co_await gyre::with_scope(body);
}

inline gyre::scheduler_counters counters() {
    return gyre::scheduler::current().counters();
}

// Until the operation waits, wherever that is.
inline gyre::task<> settled() {
    for (int turn = 0; turn < 3; ++turn) {
        co_await gyre::yield();
    }
    const auto slept = co_await gyre::sleep_for(1ms);
    static_cast<void>(slept);
}

template <class Subject, class Value>
bool is_right(Subject& which, const Value& value) {
    if constexpr (requires { which.right(value); }) {
        return which.right(value);
    } else {
        return value == 4;
    }
}

/// Its completions need not come at once: threads make them, or the clock.
template <class Subject>
constexpr bool one_by_one = requires { Subject::one_by_one; };

template <class Subject>
gyre::task<> refused_before() {
    Subject which;
    which.make_ready();
    co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
        scope.cancel();
        const auto submissions = counters().submissions;
        const auto moved = co_await which.begin();
        CHECK(moved.error() == std::errc::operation_canceled);
        CHECK(counters().submissions == submissions);
    });
    const auto moved = co_await which.begin();
    REQUIRE(moved);
    CHECK(is_right(which, *moved));
}

template <class Subject>
gyre::task<> canceled_in_flight() {
    Subject which;
    co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
        scope.spawn([&]() -> gyre::task<> {
            const auto moved = co_await which.begin();
            CHECK(moved.error() == std::errc::operation_canceled);
        });
        co_await settled();
        scope.cancel();
    });
    which.make_ready();
    const auto moved = co_await which.begin();
    REQUIRE(moved);
    CHECK(is_right(which, *moved));
}

// Its cancel comes when it is done, or all but.
template <class Subject>
gyre::task<> canceled_after() {
    int moved_all = 0;
    int canceled = 0;
    for (int round = 0; round < 40; ++round) {
        Subject which;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto moved = co_await which.begin();
                if (moved) {
                    CHECK(is_right(which, *moved));
                    ++moved_all;
                } else {
                    CHECK(moved.error() == std::errc::operation_canceled);
                    ++canceled;
                }
            });
            co_await gyre::yield();
            co_await gyre::yield();
            which.make_ready();
            for (int turn = 0; turn < round % 4; ++turn) {
                co_await gyre::yield();
            }
            if (round % 4 == 3) {
                co_await settled();
            }
            scope.cancel();
        });
    }
    CHECK(moved_all + canceled == 40);
    CHECK(moved_all > 0);
}

template <class Subject>
gyre::task<> many(int count) {
    std::vector<std::unique_ptr<Subject>> all;
    for (int index = 0; index < count; ++index) {
        all.push_back(std::make_unique<Subject>());
    }
    int done = 0;
    co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
        for (const auto& each : all) {
            scope.spawn([&done, which = each.get()]() -> gyre::task<> {
                const auto moved = co_await which->begin();
                CHECK((moved && is_right(*which, *moved)));
                ++done;
            });
        }
        co_await settled();
        for (const auto& each : all) { // All between two entries of the engine.
            each->make_ready();
        }
    });
    CHECK(done == count);
    CHECK(counters().stray_completions == 0);
}

template <class Subject>
gyre::task<> many_on_few_entries() {
    co_await many<Subject>(one_by_one<Subject> ? 40 : 100);
    CHECK(counters().submission_queue_full > 0);
}

template <class Subject>
gyre::task<> many_at_once() {
    co_await many<Subject>(one_by_one<Subject> ? 40 : 200);
    CHECK((one_by_one<Subject> || counters().completion_queue_overflow > 0));
}

// Of a subject with 8 bytes of room, which `put` gives bytes to and `got` shows.
template <class Subject>
gyre::task<> fills_its_buffer() {
    Subject which;
    which.put("eight and more");
    const auto moved = co_await which.begin();
    REQUIRE(moved);
    CHECK(*moved == 8);
    CHECK(which.got().substr(0, 8) == "eight an");
}

template <class Subject>
gyre::task<> takes_what_is_there() {
    Subject which;
    which.put("some");
    const auto moved = co_await which.begin();
    REQUIRE(moved);
    CHECK(*moved == 4);
    CHECK(which.got().substr(0, 4) == "some");
}

// Of a subject that sends "four", `begin_much` 1 MiB; `taken` is what has come out since.
template <class Subject>
gyre::task<> sends_what_fits() {
    Subject which;
    which.make_ready();
    const auto moved = co_await which.begin();
    REQUIRE(moved);
    CHECK(*moved == 4);
    CHECK(which.taken() == "four");
}

template <class Subject>
gyre::task<> sends_in_part() {
    Subject which;
    which.make_ready();
    const auto moved = co_await which.begin_much();
    REQUIRE(moved);
    CHECK(*moved > 0);
    CHECK(*moved < which.much.size());
    CHECK(which.taken().size() == *moved);
}

struct counting_waiter : gyre::detail::waiter {
    counting_waiter() noexcept
        : waiter([](waiter& base) noexcept { ++static_cast<counting_waiter&>(base).told; }) {}
    int told = 0;
};

template <class Subject>
gyre::task<> destroyed() {
    Subject which;
    {
        auto idle = which.begin();
        const gyre::detail::operation_awaiter<decltype(idle)> never_begun(idle);
    }
    CHECK(counters().forced_drains == 0);
    {
        gyre::detail::stop_state stop;
        counting_waiter told;
        auto description = which.begin();
        gyre::detail::operation_awaiter<decltype(description)> awaiter(description);
        awaiter.start({gyre::detail::run_loop::current(), &stop, nullptr}, told);
        co_await settled();
        REQUIRE(gyre::scheduler::current().operations_in_flight() == 1);
    }
    CHECK(counters().forced_drains == 1);
    CHECK(gyre::scheduler::current().operations_in_flight() == 0);
    which.make_ready();
    const auto moved = co_await which.begin();
    REQUIRE(moved);
    CHECK(is_right(which, *moved));
}

inline gyre::scheduler_options tiny_submission_queue() {
    return {.submission_entries = 2, .completion_entries = 64};
}
inline gyre::scheduler_options tiny_completion_queue() {
    return {.submission_entries = 8, .completion_entries = 8};
}

class no_sigpipe {
public:
    no_sigpipe() {
        struct sigaction ignored = {};
        ignored.sa_handler = SIG_IGN;
        REQUIRE(::sigaction(SIGPIPE, &ignored, &before_) == 0);
    }
    ~no_sigpipe() { ::sigaction(SIGPIPE, &before_, nullptr); }
    no_sigpipe(const no_sigpipe&) = delete;
    no_sigpipe& operator=(const no_sigpipe&) = delete;

private:
    struct sigaction before_;
};

} // namespace test

// The names are read by test/matrix.sh.

#define GYRE_TEST_LIFECYCLE(operation, subject)                                                    \
    TEST_CASE(operation ", stop before submission: it takes no entry and moves nothing") {         \
        test::on_every_engine(test::refused_before<subject>);                                      \
    }                                                                                              \
    TEST_CASE(operation ", stop in flight: it yields ECANCELED, and what comes later stays") {     \
        test::on_every_engine(test::canceled_in_flight<subject>);                                  \
    }                                                                                              \
    TEST_CASE(operation ", stop after completion: what it did is the result") {                    \
        test::on_every_engine(test::canceled_after<subject>);                                      \
    }                                                                                              \
    TEST_CASE(operation ", submission queue full: many more than entries all complete") {          \
        test::on_every_engine(test::tiny_submission_queue(), test::many_on_few_entries<subject>);  \
    }                                                                                              \
    TEST_CASE(operation ", completion queue overflow: no completion is lost") {                    \
        test::on_every_engine(test::tiny_completion_queue(), test::many_at_once<subject>);         \
    }                                                                                              \
    TEST_CASE(operation ", destroyed while idle: it was never begun; one in flight ends first") {  \
        test::on_every_engine(test::destroyed<subject>);                                           \
    }

#define GYRE_TEST_RECEIVING(operation, subject)                                                    \
    TEST_CASE(operation ", full: a buffer is filled when that many bytes are there") {             \
        test::on_every_engine(test::fills_its_buffer<subject>);                                    \
    }                                                                                              \
    TEST_CASE(operation ", short: what is there is the result, however large the buffer") {        \
        test::on_every_engine(test::takes_what_is_there<subject>);                                 \
    }

#define GYRE_TEST_SENDING(operation, subject)                                                      \
    TEST_CASE(operation ", full: bytes that fit are taken whole") {                                \
        test::on_every_engine(test::sends_what_fits<subject>);                                     \
    }                                                                                              \
    TEST_CASE(operation ", short: more than there is room for is sent in part") {                  \
        test::on_every_engine(test::sends_in_part<subject>);                                       \
    }
