// Random programs of tasks on an engine that answers at random, as badly as a kernel may.

#include <gyre/operation/operation.hpp>
#include <gyre/operation/recv.hpp>
#include <gyre/operation/send.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/counters.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/fuzz.hpp"
#include "support/hostile_engine.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

using gyre::detail::engine_time;
using gyre::detail::run_loop;
using test::hostile_engine;
using test::trial;

namespace {

// What has been seen, over all rounds: a fuzz test that never gets anywhere is not one.
struct census {
    std::uint64_t moved = 0;
    std::uint64_t canceled = 0;
    std::uint64_t timed_out = 0;
    std::uint64_t left = 0;
    std::uint64_t destroyed = 0;
    std::uint64_t settled = 0;
    std::uint64_t missed = 0;
    std::uint64_t overflows = 0;
    std::uint64_t full = 0;
    std::uint64_t rearms = 0;
};

struct world {
    world(trial& of, census& into) : round(of), seen(into) {}

    std::chrono::nanoseconds some_time() { return std::chrono::nanoseconds(round.any_size(25)); }
    engine_time now() const { return loop->now(); }

    trial& round;
    census& seen;
    hostile_engine* engine = nullptr;
    std::unique_ptr<run_loop> loop;
    int descriptors = 0;
    int frames = 0; // How many coroutines there are.
};

// Stands in each coroutine: tells when frames are left or go twice.
class counted {
public:
    explicit counted(world& in) : in_(in) { ++in_.frames; }
    ~counted() { --in_.frames; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;

private:
    world& in_;
};

// One receive or send with a name of its own.
struct transfer {
    /// With `hostile_engine::silent`, one that something else has to end.
    explicit transfer(world& world_of, int kind = 0)
        : in(world_of), socket{.fd = ++in.descriptors | kind} {}

    gyre::recv_operation recv() { return gyre::recv_operation(socket, buffer, 0); }
    gyre::send_operation send() { return gyre::send_operation(socket, buffer, 0); }

    bool submitted() const { return in.engine->outcome(socket.fd) != nullptr; }

    // The outcome is what the engine said, and nothing else.
    void judge(const gyre::result<std::size_t>& got) const { judge(in, socket.fd, got); }
    static void judge(world& in, int fd, const gyre::result<std::size_t>& got) {
        const std::int32_t* answer = in.engine->outcome(fd);
        if (answer != nullptr && *answer >= 0) {
            ++in.seen.moved;
            in.round.expect(got.has_value(), "an operation that moved bytes reports an error");
            in.round.expect(
                !got || *got == static_cast<std::size_t>(*answer), "the count of bytes is wrong"
            );
            return;
        }
        in.round.expect(!got, "an operation that failed reports success");
        if (got) {
            return;
        }
        const std::error_code error = got.error();
        if (error == gyre::errc::timed_out) {
            ++in.seen.timed_out;
        } else if (error == gyre::errno_code(ECANCELED)) {
            ++in.seen.canceled;
        }
        if (answer != nullptr && (*answer == -EPIPE || *answer == -ECONNRESET)) {
            in.round.expect(error == gyre::errno_code(-*answer), "the error is another one");
        } else {
            in.round.expect(
                error == gyre::errno_code(ECANCELED) || error == gyre::errc::timed_out ||
                    error == gyre::errc::stopped,
                "an operation that was ended reports another error"
            );
        }
    }
    void judge_received(const gyre::result<std::size_t>& got) const {
        judge(got);
        const std::byte mark = hostile_engine::mark_of(socket.fd);
        const auto end = buffer.begin() + static_cast<std::ptrdiff_t>(got.value_or(0));
        in.round.expect(
            std::all_of(buffer.begin(), end, [&](std::byte each) { return each == mark; }),
            "the bytes are not there"
        );
        in.round.expect(socket.receiving == 0, "an operation that ended is noted as in flight");
    }

    world& in;
    gyre::detail::socket_state socket;
    std::array<std::byte, 16> buffer{};
};

using outcome = gyre::result<void>;

gyre::task<outcome> program(world* in, unsigned depth);

gyre::task<> receives(world& in) {
    const counted frame(in);
    transfer one(in);
    const bool refused = gyre::this_task::canceled();
    const auto got = co_await one.recv();
    one.judge_received(got);
    in.round.expect(!refused || !one.submitted(), "an operation in a canceled scope is submitted");
    in.round.expect(
        got || got.error() != gyre::errno_code(ECANCELED) || gyre::this_task::canceled(),
        "an operation is canceled although nobody asked for it"
    );
}

gyre::task<> sends(world& in) {
    const counted frame(in);
    transfer one(in);
    const auto got = co_await one.send();
    one.judge(got);
    in.round.expect(one.socket.sending == 0, "a send that ended is noted as in flight");
}

gyre::task<> is_limited(world& in) {
    const counted frame(in);
    transfer one(in, hostile_engine::silent);
    const auto limit = in.some_time();
    const engine_time begin = in.now();
    const auto got = co_await gyre::with_timeout(one.recv(), limit);
    one.judge_received(got);
    in.round.expect(
        got || got.error() != gyre::errc::timed_out || in.now() >= begin + limit.count(),
        "a limit is early"
    );
}

gyre::task<> limits_a_task(world& in, unsigned depth) {
    const counted frame(in);
    const auto limit = in.some_time();
    const engine_time begin = in.now();
    const auto got = co_await gyre::with_timeout(program(&in, depth), limit);
    in.round.expect(
        got || got.error() != gyre::errc::timed_out || in.now() >= begin + limit.count(),
        "the limit of a task is early"
    );
}

gyre::task<> races(world& in) {
    const counted frame(in);
    transfer one(in, hostile_engine::silent);
    transfer other(in, hostile_engine::silent);
    const auto got = co_await gyre::when_any(
        one.recv(),
        gyre::with_timeout(other.send(), in.some_time()),
        gyre::sleep_for(in.some_time())
    );
    one.judge_received(std::get<0>(got.outcomes));
    other.judge(std::get<1>(got.outcomes));
    in.round.expect(got.index < 3, "nobody has won");
}

// The loser hangs unless its cancel comes, also when the winner ends while the loser begins.
gyre::task<> races_with_silence(world& in) {
    const counted frame(in);
    transfer one(in);
    transfer other(in, hostile_engine::silent);
    transfer third(in, hostile_engine::silent);
    const auto got = co_await gyre::when_any(one.recv(), other.send(), third.recv());
    one.judge_received(std::get<0>(got.outcomes));
    other.judge(std::get<1>(got.outcomes));
    third.judge_received(std::get<2>(got.outcomes));
}

gyre::task<> waits_for_all(world& in, unsigned depth) {
    const counted frame(in);
    transfer one(in);
    const auto got = co_await gyre::when_all(one.recv(), program(&in, depth));
    one.judge_received(std::get<0>(got));
}

gyre::task<> sleeps(world& in) {
    const counted frame(in);
    const auto time = in.some_time();
    const engine_time begin = in.now();
    const auto slept = co_await gyre::sleep_for(time);
    in.round.expect(!slept || in.now() >= begin + time.count(), "a sleep is short");
    in.round.expect(slept || gyre::this_task::canceled(), "a sleep is canceled without a cancel");
}

gyre::task<> is_shielded(world& in) {
    const counted frame(in);
    transfer one(in);
    const auto got = co_await gyre::shielded(one.recv());
    one.judge_received(got);
    in.round.expect(one.submitted(), "a shielded operation is refused");
    in.round.expect(got || got.error() != gyre::errno_code(ECANCELED), "a shield lets a cancel in");
}

gyre::task<> is_idle(world& in) {
    const counted frame(in);
    transfer one(in);
    const auto got = co_await gyre::idle(one.recv());
    one.judge_received(got);
    in.round.expect(
        got || got.error() != gyre::errc::stopped || gyre::this_task::stop_requested(),
        "a wait is stopped without a stop"
    );
}

gyre::task<outcome> returns_early(world& in, int& name) {
    const counted frame(in);
    transfer one(in); // Goes with this frame.
    name = one.socket.fd;
    const std::size_t count = co_await gyre::or_return(one.recv());
    one.judge_received(count);
    co_return outcome();
}

gyre::task<> is_returned_to(world& in) {
    const counted frame(in);
    int name = 0;
    const auto got = co_await returns_early(in, name);
    if (!got) {
        ++in.seen.left;
        transfer::judge(in, name, got.error());
    }
}

struct counting_waiter : gyre::detail::waiter {
    counting_waiter() noexcept
        : waiter([](waiter& base) noexcept { ++static_cast<counting_waiter&>(base).told; }) {}
    int told = 0;
};

// Operations that are destroyed before, in or after their flight. What the end of one takes in may
// be for the other, which goes next.
gyre::task<> destroys(world& in) {
    const counted frame(in);
    transfer one(in, hostile_engine::silent);
    transfer other(in, hostile_engine::silent);
    counting_waiter told;
    counting_waiter other_told;
    gyre::detail::stop_state stop;
    auto description = one.recv();
    auto other_description = other.recv();
    bool over = false;
    {
        gyre::detail::operation_awaiter<gyre::recv_operation> beside(other_description);
        gyre::detail::operation_awaiter<gyre::recv_operation> begun(description);
        beside.start({in.loop.get(), &stop, nullptr}, other_told);
        begun.start({in.loop.get(), &stop, nullptr}, told);
        for (std::uint64_t turns = in.round.below(4); turns != 0; --turns) {
            co_await gyre::yield();
        }
        if (in.round.one_in(2)) {
            in.loop->cancel(begun);
        }
        if (in.round.one_in(2)) {
            const auto slept = co_await gyre::sleep_for(in.some_time());
            static_cast<void>(slept);
        }
        over = begun.over();
        in.seen.destroyed += over ? 0U : 1U;
    }
    in.round.expect(told.told == (over ? 1 : 0), "a waiter is told twice, or in vain, or too late");
    in.round.expect(other_told.told <= 1, "a waiter is told twice");
    in.round.expect(
        one.socket.receiving == 0 && other.socket.receiving == 0,
        "a destroyed operation is noted as in flight"
    );
}

gyre::task<> receives_on(transfer* shared) {
    const counted frame(shared->in);
    const auto got = co_await shared->recv();
    shared->judge_received(got);
}

// What the destructor of a stream does to a receive of another task.
gyre::task<> settles(world& in) {
    const counted frame(in);
    transfer shared(in);
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        const counted frame_of_body(in);
        scope.spawn(receives_on, &shared);
        for (std::uint64_t turns = in.round.below(4); turns != 0; --turns) {
            co_await gyre::yield();
        }
        in.seen.settled += shared.socket.receiving != 0 ? 1U : 0U;
        in.loop->settle(shared.socket.receiving);
        // A task that has not begun yet may still receive.
        const auto joined = co_await scope.join();
        in.round.expect(joined || gyre::this_task::canceled(), "a join fails");
    };
    co_await gyre::with_scope(body);
    in.round.expect(shared.socket.receiving == 0, "what was settled is noted as in flight");
}

gyre::task<> ends_later(world* in, gyre::scope* which) {
    const counted frame(*in);
    const auto slept = co_await gyre::sleep_for(in->some_time());
    static_cast<void>(slept);
    if (in->round.one_in(2)) {
        which->request_stop();
    } else {
        which->cancel();
    }
}

gyre::task<> opens_a_scope(world& in, unsigned depth) {
    const counted frame(in);
    auto body = [&](gyre::scope& scope) -> gyre::task<outcome> {
        const counted frame_of_body(in);
        for (std::uint64_t children = in.round.below(4); children != 0; --children) {
            scope.spawn(program, &in, depth);
        }
        if (in.round.one_in(2)) {
            scope.spawn(ends_later, &in, &scope);
        }
        transfer own(in);
        switch (in.round.below(6)) {
        case 0:
            co_await receives(in);
            scope.cancel();
            break;
        case 1: {
            const auto joined = co_await scope.join();
            in.round.expect(scope.size() == 0 || !joined, "a join leaves children behind");
            break;
        }
        case 2: {
            const std::size_t count = co_await gyre::or_return(own.recv());
            own.judge_received(count);
            break;
        }
        case 3: {
            const auto ended = co_await program(&in, depth);
            static_cast<void>(ended);
            scope.request_stop();
            break;
        }
        case 4:
            co_await sleeps(in);
            throw std::runtime_error("thrown by a test");
        default:
            break;
        }
        co_return outcome();
    };
    try {
        const auto ended = co_await gyre::with_scope(body);
        static_cast<void>(ended);
    } catch (const std::runtime_error&) {
        // The body's, or that of a scope in it.
    }
}

gyre::task<> step(world& in, unsigned depth) {
    const counted frame(in);
    switch (in.round.below(depth == 0 ? 11 : 15)) {
    case 0:
    case 1:
        co_await receives(in);
        break;
    case 2:
        co_await sends(in);
        break;
    case 3:
    case 4:
        co_await is_limited(in);
        break;
    case 5:
        if (in.round.one_in(2)) {
            co_await races(in);
        } else {
            co_await races_with_silence(in);
        }
        break;
    case 6:
        co_await sleeps(in);
        break;
    case 7:
        co_await is_shielded(in);
        break;
    case 8:
        co_await is_idle(in);
        break;
    case 9:
        co_await is_returned_to(in);
        break;
    case 10:
        if (in.round.one_in(2)) {
            co_await destroys(in);
        } else {
            co_await settles(in);
        }
        break;
    case 11:
        co_await limits_a_task(in, depth - 1);
        break;
    case 12:
        co_await waits_for_all(in, depth - 1);
        break;
    default:
        co_await opens_a_scope(in, depth - 1);
        break;
    }
}

gyre::task<outcome> program(world* in, unsigned depth) {
    const counted frame(*in);
    for (std::uint64_t steps = in->round.below(4); steps != 0; --steps) {
        co_await step(*in, depth);
    }
    if (in->round.one_in(16)) {
        co_return gyre::errno_code(EPROTO);
    }
    co_return outcome();
}

gyre::task<> root_program(world* in) {
    const counted frame(*in);
    try {
        const auto ended = co_await program(in, 3);
        static_cast<void>(ended);
    } catch (const std::runtime_error&) {
        // A step's.
    }
}

void run_programs(trial& round, census& seen) {
    constexpr int turns_max = 200'000;
    world in(round, seen);
    const unsigned submissions = 2U << round.below(3);
    auto engine =
        std::make_unique<hostile_engine>(round, submissions, submissions << round.below(3));
    in.engine = engine.get();
    in.loop = std::make_unique<run_loop>(std::move(engine));
    run_loop& loop = *in.loop;

    auto& root = gyre::detail::root_of(loop);
    for (std::uint64_t programs = 1 + round.below(12); programs != 0; --programs) {
        gyre::detail::spawn_into(root, root_program, &in);
    }
    // Some worlds end before their programs do.
    const bool cut = round.one_in(3);
    const engine_time end = loop.now() + round.any_size(28);
    int turns = 0;
    while (in.frames != 0 || turns == 0) {
        if (cut && loop.now() >= end) {
            break;
        }
        if (round.one_in(8)) {
            loop.step(false);
            if (round.one_in(2)) {
                loop.rest();
            }
        } else {
            loop.step(true);
        }
        round.expect(
            in.engine->pending() <= loop.operations_in_flight(), "an operation has no slot"
        );
        if (++turns == turns_max) {
            test::stop_fuzzing("the loop turns without end");
        }
        if (round.failed()) {
            break;
        }
    }
    round.expect(loop.shut_down(1'000'000'000'000), "the loop does not end");
    round.expect(in.frames == 0, "frames are left");
    round.expect(in.engine->pending() == 0, "operations are left");
    round.expect(loop.operations_in_flight() == 0, "slots are left");
    const gyre::scheduler_counters counters = loop.counters();
    round.expect(counters.stray_completions == 0, "a completion reached nobody");
    seen.missed += counters.cancels_missed;
    seen.overflows += counters.completion_queue_overflow;
    seen.full += counters.submission_queue_full;
    seen.rearms += counters.rearms;
}

} // namespace

TEST_SUITE_BEGIN("scheduler/fuzz");

TEST_CASE(
    "random programs on a hostile engine: every await ends once, with what it was answered" *
    doctest::timeout(300)
) {
    census seen;
    const auto rounds = test::fuzz({}, [&](trial& round) { run_programs(round, seen); });

    INFO("rounds: ", rounds);
    if (rounds >= 100) { // Else a single one is replayed, or the machine is very slow.
        CHECK(seen.moved > rounds);
        CHECK(seen.canceled > rounds);
        CHECK(seen.timed_out > rounds / 16);
        CHECK(seen.left > rounds / 16);
        CHECK(seen.destroyed > rounds / 16);
        CHECK(seen.settled > rounds / 16);
        CHECK(seen.missed > rounds / 16);
        CHECK(seen.overflows > rounds / 16);
        CHECK(seen.full > rounds);
        CHECK(seen.rearms > rounds / 16);
    }
}

TEST_SUITE_END();
