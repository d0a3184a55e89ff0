// The driver beneath the operations, on an engine in memory that misbehaves as a test says.

#include <gyre/scheduler/run_loop.hpp>

#include <gyre/operation/buffer.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/operation/recv.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/uapi.hpp>
#include <gyre/scheduler/slot_table.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/scripted_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

using gyre::detail::operation_id;
using gyre::detail::run_loop;
using test::scripted_engine;
namespace uapi = gyre::detail::uapi;

namespace {

constexpr gyre::detail::engine_time millisecond = 1'000'000;

// A run loop on a scripted engine, with the scope that holds its tasks.
struct scripted_loop {
    explicit scripted_loop(unsigned submissions = 8, unsigned completions = 64) {
        auto made = std::make_unique<scripted_engine>(submissions, completions);
        engine = made.get();
        loop = std::make_unique<run_loop>(std::move(made));
    }
    ~scripted_loop() {
        // What a test leaves ends like at the end of a scheduler.
        CHECK(loop->shut_down(1'000 * millisecond));
    }

    template <class Callable, class... Args>
    void spawn(Callable&& callable, Args&&... args) {
        gyre::detail::spawn_into(
            gyre::detail::root_of(*loop),
            std::forward<Callable>(callable),
            std::forward<Args>(args)...
        );
    }
    void turn() { loop->step(false); }
    void turns(int count) {
        for (int done = 0; done < count; ++done) {
            turn();
        }
    }

    scripted_engine* engine = nullptr;
    std::unique_ptr<run_loop> loop;
};

// One receive, as a stream would make it, on a descriptor that the engine never looks at.
struct receiving {
    gyre::detail::socket_state socket{.fd = 7};
    std::array<std::byte, 16> buffer{};
    std::optional<gyre::result<std::size_t>> outcome;

    gyre::recv_operation operation(int flags = 0) {
        return gyre::recv_operation(socket, buffer, flags);
    }
    gyre::task<> run() { outcome = co_await operation(); }
};

constexpr std::uint64_t tag = std::uint64_t{1} << 28; // A cancel's user_data bears it.

} // namespace

TEST_SUITE_BEGIN("scheduler/run_loop");

TEST_CASE("an operation submits one entry, and its completion is its outcome") {
    receiving one;
    scripted_loop on;
    on.spawn([&] { return one.run(); });

    on.turns(2);
    REQUIRE(on.engine->pending.size() == 1);
    CHECK(on.engine->pending[0].opcode == uapi::op_recv);
    CHECK(on.engine->pending[0].user_data == one.socket.receiving);
    CHECK(!one.outcome);
    on.engine->complete(one.socket.receiving, 5);
    on.turn();

    REQUIRE(one.outcome);
    CHECK(one.outcome->value() == 5);
    CHECK(one.socket.receiving == 0);
    CHECK(on.loop->operations_in_flight() == 0);
}

TEST_CASE("EINTR, EAGAIN and EBUSY of an enter are tried again, and nothing is lost") {
    for (const int error : {-EINTR, -EAGAIN, -EBUSY}) {
        INFO("error: ", error);
        receiving one;
        scripted_loop on;
        on.spawn([&] { return one.run(); });
        on.turn();

        on.engine->answers = {error, error, error};
        on.turns(4);
        REQUIRE(on.engine->pending.size() == 1);
        on.engine->complete(one.socket.receiving, 1);
        on.engine->answers = {error, error};
        on.turns(3);

        CHECK(one.outcome);
        CHECK(on.loop->counters().enter_retries >= 3);
    }
}

TEST_CASE("a rest whose hand-over a signal interrupts asks for another turn at once") {
    receiving one;
    scripted_loop on;
    on.spawn([&] { return one.run(); });
    on.turn();

    on.engine->answers = {-EINTR};
    CHECK(on.loop->rest() == 0);
    CHECK(on.engine->pending.empty());
    CHECK(on.loop->rest() == gyre::detail::never);
    REQUIRE(on.engine->pending.size() == 1);
    on.engine->complete(one.socket.receiving, 1);
    on.turn();

    CHECK(one.outcome);
}

TEST_CASE("a short submit is followed by another one, in order, until all is taken") {
    std::array<receiving, 6> all;
    scripted_loop on;
    for (receiving& each : all) {
        on.spawn([&] { return each.run(); });
    }
    on.turn();

    on.engine->takes_at_most = {1, 2, 1, 0, 1};
    on.turns(3);

    REQUIRE(on.engine->taken.size() == 6);
    for (std::size_t index = 0; index < all.size(); ++index) {
        CHECK(on.engine->taken[index].user_data == all[index].socket.receiving);
    }
}

TEST_CASE("more operations than the submission queue has entries are all submitted, once each") {
    for (const unsigned entries : {1U, 2U, 4U}) {
        INFO("entries: ", entries);
        std::array<receiving, 20> all;
        scripted_loop on(entries, 64);
        for (receiving& each : all) {
            on.spawn([&] { return each.run(); });
        }

        on.turns(2);

        CHECK(on.engine->taken.size() == 20);
        CHECK(on.loop->counters().submission_queue_full > 0);
        for (receiving& each : all) {
            on.engine->complete(each.socket.receiving, 1);
        }
        on.turn();
        for (const receiving& each : all) {
            CHECK(each.outcome);
        }
    }
}

TEST_CASE("a full submission queue that answers EBUSY is reaped for, until the kernel takes it") {
    std::array<receiving, 6> all;
    scripted_loop on(2, 4);
    on.spawn([&] { return all[0].run(); });
    on.spawn([&] { return all[1].run(); });
    on.turns(2);
    on.engine->complete(all[0].socket.receiving, 3);
    on.engine->complete(all[1].socket.receiving, 4);
    for (std::size_t index = 2; index < all.size(); ++index) {
        on.spawn([&all, index] { return all[index].run(); });
    }

    on.engine->answers = {-EBUSY};
    on.turn();
    on.engine->answers = {-EBUSY, -EAGAIN, -EINTR};
    on.turns(3);

    CHECK(all[0].outcome.value().value() == 3);
    CHECK(all[1].outcome.value().value() == 4);
    CHECK(on.engine->taken.size() == 6);
}

TEST_CASE("completions that overflow their queue all arrive, and the overflow is counted") {
    std::vector<receiving> all(200);
    scripted_loop on(8, 8);
    for (receiving& each : all) {
        on.spawn([&each] { return each.run(); });
    }
    on.turns(2);
    REQUIRE(on.engine->pending.size() == 200);

    for (receiving& each : all) {
        on.engine->complete(each.socket.receiving, 1);
    }
    on.turns(2);

    for (const receiving& each : all) {
        CHECK(each.outcome);
    }
    CHECK(on.loop->counters().completion_queue_overflow > 0);
    CHECK(on.loop->operations_in_flight() == 0);
}

TEST_CASE("a completion of an operation that has ended reaches nobody and is counted") {
    receiving first;
    receiving second;
    scripted_loop on;
    on.spawn([&] { return first.run(); });
    on.turns(2);
    const operation_id ended = first.socket.receiving;
    on.engine->complete(ended, 1);
    on.turn();
    on.spawn([&] { return second.run(); });
    on.turns(2);
    // The successor has the same slot and another generation.
    REQUIRE((second.socket.receiving & 0xffff'ffff) == (ended & 0xffff'ffff));

    on.engine->complete(ended, 99);
    on.engine->complete(ended | tag, 0);
    on.turn();

    CHECK(!second.outcome);
    CHECK(on.loop->counters().stray_completions == 1);
    CHECK(on.loop->operations_in_flight() == 1);
}

TEST_CASE("a completion with an unknown tag or index reaches nobody") {
    receiving one;
    scripted_loop on;
    on.spawn([&] { return one.run(); });
    on.turns(2);

    for (std::uint64_t unknown = 3; unknown < 16; ++unknown) {
        on.engine->complete(unknown << 28, -EINVAL);
    }
    on.engine->complete((std::uint64_t{1} << 32) | 0x0fff'fffe, 0);
    on.engine->complete((std::uint64_t{1} << 32) | tag | 0x0fff'fffe, -ENOENT);
    on.turn();

    CHECK(!one.outcome);
    CHECK(on.loop->operations_in_flight() == 1);
}

TEST_CASE("a cancel answered ENOENT is repeated after 1 ms, doubling, until its target ends") {
    receiving one;
    scripted_loop on;
    on.engine->when_taken = [&](const scripted_engine::submission& entry) {
        if (entry.opcode != uapi::op_async_cancel) {
            on.engine->pending.push_back(entry);
            return;
        }
        on.engine->cancels.push_back(on.engine->now());
        on.engine->complete(entry.user_data, -ENOENT);
    };
    on.spawn([&]() -> gyre::task<> {
        one.outcome = co_await gyre::with_timeout(one.operation(), std::chrono::milliseconds(5));
    });
    on.turns(2);
    on.engine->complete_at(on.engine->now() + 400 * millisecond, one.socket.receiving, -ECANCELED);

    while (!one.outcome) {
        on.loop->step(true);
    }

    CHECK(one.outcome->error() == gyre::errc::timed_out);
    const auto& cancels = on.engine->cancels;
    REQUIRE(cancels.size() >= 8);
    CHECK(cancels.size() <= 16);
    gyre::detail::engine_time expected = millisecond;
    for (std::size_t index = 1; index < cancels.size(); ++index) {
        INFO("interval: ", index);
        const auto interval = cancels[index] - cancels[index - 1];
        CHECK(interval >= expected);
        CHECK(interval <= expected + millisecond);
        // It stays at the longest interval, rather than to begin anew.
        expected = expected < 64 * millisecond ? expected * 2 : expected;
    }
    CHECK(on.loop->counters().cancels_missed == cancels.size());
    on.engine->when_taken = [&](const auto& entry) { on.engine->obey(entry); };
}

TEST_CASE("a cancel answered EALREADY waits for its target and asks again") {
    receiving one;
    scripted_loop on;
    bool running = true;
    on.engine->when_taken = [&](const scripted_engine::submission& entry) {
        if (entry.opcode == uapi::op_async_cancel && running) {
            running = false;
            on.engine->complete(entry.user_data, -EALREADY);
            return;
        }
        on.engine->obey(entry);
    };
    on.spawn([&]() -> gyre::task<> {
        one.outcome = co_await gyre::with_timeout(one.operation(), std::chrono::milliseconds(5));
    });

    for (int turn = 0; turn < 100 && !one.outcome; ++turn) {
        on.loop->step(true);
    }

    REQUIRE(one.outcome);
    CHECK(one.outcome->error() == gyre::errc::timed_out);
    CHECK(on.loop->counters().cancels_running == 1);
    CHECK(on.loop->counters().cancels_found == 1);
}

TEST_CASE("a cancel that comes late finds nothing and does no harm to the slot's next operation") {
    receiving first;
    receiving second;
    scripted_loop on;
    // The target completes as its cancel is taken; the answer to the cancel comes much later.
    std::uint64_t answer_to = 0;
    on.engine->when_taken = [&](const scripted_engine::submission& entry) {
        if (entry.opcode == uapi::op_async_cancel) {
            answer_to = entry.user_data;
            on.engine->complete(first.socket.receiving, 7);
            return;
        }
        on.engine->pending.push_back(entry);
    };
    on.spawn([&]() -> gyre::task<> {
        first.outcome =
            co_await gyre::with_timeout(first.operation(), std::chrono::milliseconds(5));
        second.outcome = co_await second.operation();
    });
    for (int turn = 0; turn < 100 && !first.outcome; ++turn) {
        on.loop->step(true);
    }
    CHECK(first.outcome.value().value() == 7);
    on.turns(2);

    REQUIRE(second.socket.receiving != 0);
    on.engine->complete(answer_to, -ENOENT);
    on.turn();

    CHECK(on.loop->counters().cancels_late == 1);
    CHECK(on.loop->counters().cancels_missed == 0);
    CHECK(!second.outcome);
    on.engine->complete(second.socket.receiving, 3);
    on.turns(2);
    CHECK(second.outcome.value().value() == 3);
}

TEST_CASE("the kernel's own restart codes after a cancel read as ECANCELED, and only then") {
    for (const int code : {-512, -513, -516, -530, -EINTR, -ECANCELED}) {
        INFO("code: ", code);
        receiving one;
        receiving other;
        scripted_loop on;
        on.engine->when_taken = [&](const scripted_engine::submission& entry) {
            if (entry.opcode == uapi::op_async_cancel) {
                on.engine->complete(entry.address, code);
                on.engine->complete(entry.user_data, 0);
                return;
            }
            on.engine->pending.push_back(entry);
        };
        on.spawn([&]() -> gyre::task<> {
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&] { return one.run(); });
                co_await gyre::yield();
                co_await gyre::yield();
                scope.cancel();
            };
            co_await gyre::with_scope(body);
        });
        on.turns(6);
        REQUIRE(one.outcome);
        CHECK(one.outcome->error() == std::errc::operation_canceled);

        on.spawn([&] { return other.run(); });
        on.turns(2);
        on.engine->complete(other.socket.receiving, -EINTR);
        on.turn();
        CHECK(other.outcome.value().error() == std::errc::interrupted);
    }
}

TEST_CASE("bytes that moved are the outcome although a cancel was on its way") {
    receiving one;
    scripted_loop on;
    on.engine->when_taken = [&](const scripted_engine::submission& entry) {
        if (entry.opcode == uapi::op_async_cancel) {
            on.engine->complete(entry.user_data, -EALREADY);
            on.engine->complete(entry.address, 11);
            return;
        }
        on.engine->pending.push_back(entry);
    };
    on.spawn([&]() -> gyre::task<> {
        one.outcome = co_await gyre::with_timeout(one.operation(), std::chrono::milliseconds(5));
    });
    for (int turn = 0; turn < 100 && !one.outcome; ++turn) {
        on.loop->step(true);
    }
    CHECK(one.outcome.value().value() == 11);
}

TEST_CASE("EAGAIN from an operation that may wait submits it again, with POLL_FIRST") {
    receiving one;
    scripted_loop on;
    on.spawn([&] { return one.run(); });
    on.turns(2);

    on.engine->complete(one.socket.receiving, -EAGAIN);
    on.turns(2);

    CHECK(!one.outcome);
    REQUIRE(on.engine->taken.size() == 2);
    CHECK((on.engine->taken[0].ioprio & uapi::recvsend_poll_first) == 0);
    CHECK((on.engine->taken[1].ioprio & uapi::recvsend_poll_first) != 0);
    CHECK(on.engine->taken[1].user_data == one.socket.receiving);
    CHECK(on.loop->counters().rearms == 1);
    on.engine->complete(one.socket.receiving, 2);
    on.turn();
    CHECK(one.outcome.value().value() == 2);
}

TEST_CASE("EAGAIN is the outcome of an operation that asked not to wait") {
    receiving one;
    scripted_loop on;
    on.spawn([&]() -> gyre::task<> {
        one.outcome = co_await one.operation(gyre::detail::message_dontwait);
    });
    on.turns(2);
    on.engine->complete(one.socket.receiving, -EAGAIN);
    on.turn();
    CHECK(one.outcome.value().error() == std::errc::resource_unavailable_try_again);
}

TEST_CASE("an operation canceled between EAGAIN and its next submission ends canceled") {
    receiving one;
    scripted_loop on;
    on.spawn([&]() -> gyre::task<> {
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&] { return one.run(); });
            co_await gyre::yield();
            co_await gyre::yield();
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
    on.engine->when_taken = [&](const scripted_engine::submission& entry) {
        if (entry.opcode == uapi::op_async_cancel) {
            on.engine->complete(one.socket.receiving, -EAGAIN);
            on.engine->complete(entry.user_data, -ENOENT);
            return;
        }
        on.engine->pending.push_back(entry);
    };

    for (int turn = 0; turn < 20; ++turn) {
        on.turn();
    }

    REQUIRE(one.outcome);
    CHECK(one.outcome->error() == std::errc::operation_canceled);
    CHECK(on.loop->operations_in_flight() == 0);
}

// To make room the loop may reap, and what it reaps may end another branch, which cancels this one
// before it has its entry.
TEST_CASE("an operation canceled while it waits for room in the queue is canceled all the same") {
    std::array<receiving, 3> all;
    scripted_loop on(1, 8);
    bool over = false;
    // The first one completes as soon as it is taken.
    on.engine->when_taken = [&](const scripted_engine::submission& entry) {
        if (entry.user_data == all[0].socket.receiving) {
            on.engine->complete(entry.user_data, 4);
        } else {
            on.engine->obey(entry);
        }
    };
    on.spawn([&]() -> gyre::task<> {
        const auto any =
            co_await gyre::when_any(all[0].operation(), all[1].operation(), all[2].operation());
        CHECK(any.index == 0);
        CHECK(std::get<1>(any.outcomes).error() == std::errc::operation_canceled);
        CHECK(std::get<2>(any.outcomes).error() == std::errc::operation_canceled);
        over = true;
    });
    // The third one finds the queue full and the kernel busy until something was reaped.
    on.engine->answers = {scripted_engine::obliging, scripted_engine::obliging, -EBUSY};

    on.turns(10);

    CHECK(over);
}

TEST_CASE("an operation canceled while it waits for room to be submitted again ends canceled") {
    std::array<receiving, 3> all;
    scripted_loop on(1, 8);
    bool over = false;
    on.spawn([&]() -> gyre::task<> {
        const auto any = co_await gyre::when_any(all[0].operation(), all[1].operation());
        CHECK(any.index == 0);
        over = true;
    });
    on.spawn([&] { return all[2].run(); });
    on.turns(3);
    REQUIRE(on.engine->pending.size() == 3);

    // Two are to be submitted again and one entry is free; while the second one waits for it, the
    // first branch completes.
    on.engine->complete(all[1].socket.receiving, -EAGAIN);
    on.engine->complete(all[2].socket.receiving, -EAGAIN);
    on.engine->answers = {scripted_engine::obliging, -EBUSY};
    const unsigned crowded = on.engine->enters + 2;
    on.engine->when_entered = [&](unsigned number) {
        if (number == crowded) {
            on.engine->complete(all[0].socket.receiving, 3);
        }
    };
    on.turns(10);
    on.engine->when_entered = [](unsigned) {}; // The loop outlives what the other one looks at.

    CHECK(on.loop->counters().rearms == 2);
    CHECK(over);
}

TEST_CASE("cancels that find the queue full go out first, behind their targets, each of them") {
    std::vector<receiving> all(50);
    scripted_loop on(2, 8);
    on.spawn([&]() -> gyre::task<> {
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (receiving& each : all) {
                scope.spawn([&each] { return each.run(); });
            }
            for (int turn = 0; turn < 4; ++turn) {
                co_await gyre::yield();
            }
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });

    on.turns(20);

    for (const receiving& each : all) {
        REQUIRE(each.outcome);
        CHECK(each.outcome->error() == std::errc::operation_canceled);
    }
    CHECK(on.engine->cancels.size() == 50);
    CHECK(on.loop->counters().cancels_found == 50);
    CHECK(on.loop->operations_in_flight() == 0);
}

TEST_CASE("a target that ends before its cancel has an entry takes no cancel, and no slot leaks") {
    std::array<receiving, 4> all;
    std::vector<receiving> more(1000);
    scripted_loop on(1, 8);
    on.spawn([&]() -> gyre::task<> {
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (receiving& each : all) {
                scope.spawn([&each] { return each.run(); });
            }
            for (int turn = 0; turn < 4; ++turn) {
                co_await gyre::yield();
            }
            scope.cancel();
            // Nothing is handed over before the next turn: all of them complete until then.
            for (receiving& each : all) {
                on.engine->complete(each.socket.receiving, 1);
            }
        };
        co_await gyre::with_scope(body);
    });

    on.turns(20);

    for (const receiving& each : all) {
        REQUIRE(each.outcome);
        CHECK(each.outcome->value() == 1);
    }
    CHECK(on.loop->operations_in_flight() == 0);
    const auto slots = on.loop->counters().slots;
    REQUIRE(slots <= more.size());
    more.resize(slots - 1); // One slot is never used.
    for (receiving& each : more) {
        on.spawn([&each] { return each.run(); });
    }
    on.turns(3);
    CHECK(on.loop->counters().slots == slots);
}

namespace {

// A waiter that only counts: an operation can be started and destroyed without a task.
struct counting_waiter : gyre::detail::waiter {
    counting_waiter() noexcept
        : waiter([](waiter& base) noexcept { ++static_cast<counting_waiter&>(base).told; }) {}
    int told = 0;
};

struct started {
    started(scripted_loop& on, receiving& by) : description(by.operation()), awaiter(description) {
        CHECK(!awaiter.start({on.loop.get(), &stop, nullptr}, told));
    }
    gyre::detail::stop_state stop;
    counting_waiter told;
    gyre::recv_operation description;
    gyre::detail::operation_awaiter<gyre::recv_operation> awaiter;
};

} // namespace

TEST_CASE("an operation destroyed in flight is canceled, waited for and counted") {
    receiving one;
    receiving other;
    scripted_loop on;
    {
        started beside(on, other);
        {
            const started forgotten(on, one);
            on.turn();
            on.engine->complete(other.socket.receiving, 8);
        }
        CHECK(one.socket.receiving == 0);
        CHECK(on.loop->operations_in_flight() == 0);
        CHECK(beside.told.told == 1); // Its completion was taken in meanwhile.
        CHECK(beside.awaiter.take().value() == 8);
    }
    CHECK(on.loop->counters().forced_drains == 1);
    CHECK(on.loop->counters().cancels_found == 1);
}

TEST_CASE("an operation destroyed before it was handed over ends in the same way") {
    receiving one;
    scripted_loop on;
    {
        const started forgotten(on, one);
    }
    CHECK(one.socket.receiving == 0);
    CHECK(on.loop->operations_in_flight() == 0);
    CHECK(on.loop->counters().forced_drains == 1);
}

TEST_CASE("an operation destroyed while it waits to be submitted again is submitted no more") {
    std::array<receiving, 3> all;
    scripted_loop on;
    for (std::size_t gone = 0; gone < all.size(); ++gone) {
        on.engine->taken.clear();
        std::array<std::unique_ptr<started>, 3> work;
        for (std::size_t index = 0; index < all.size(); ++index) {
            work[index] = std::make_unique<started>(on, all[index]);
        }
        on.turn();
        receiving drained;
        {
            const started trigger(on, drained);
            on.turn();
            for (receiving& each : all) {
                on.engine->complete(each.socket.receiving, -EAGAIN);
            }
        } // Its end reaps, so the three are now to be submitted again.
        CHECK(on.engine->taken.size() == 5);
        work[gone].reset();
        on.turn();
        on.turn();

        CHECK(on.engine->taken.size() == 7);
        CHECK(all[gone].socket.receiving == 0);
    }
}

TEST_CASE("while a drain waits for its target it repeats the cancel at growing intervals") {
    receiving one;
    scripted_loop on;
    const auto begin = on.engine->now();
    on.engine->when_taken = [&](const scripted_engine::submission& entry) {
        if (entry.opcode != uapi::op_async_cancel) {
            on.engine->pending.push_back(entry);
            return;
        }
        on.engine->cancels.push_back(on.engine->now());
        on.engine->complete(entry.user_data, -ENOENT);
        if (on.engine->cancels.size() == 500) {
            on.engine->complete(entry.address, -ECANCELED); // Enough.
        }
    };
    {
        const started forgotten(on, one);
        on.turn();
        on.engine->complete_at(begin + 100 * millisecond, one.socket.receiving, -ECANCELED);
    }

    CHECK(one.socket.receiving == 0);
    CHECK(on.engine->cancels.size() < 20);
    on.engine->when_taken = [&](const auto& entry) { on.engine->obey(entry); };
}

// The ready queue: frames that stand for suspended tasks, with nothing to run in them.

namespace {

struct standing_frame : gyre::detail::frame {
    explicit standing_frame(run_loop& on) {
        context.owner = &on;
        handle = std::noop_coroutine();
        awaiting = this_wait();
    }
    // Cleared when the loop resumes the frame.
    bool resumed() const { return awaiting == nullptr; }

private:
    static gyre::detail::pending* this_wait() {
        static std::byte anything;
        return reinterpret_cast<gyre::detail::pending*>(&anything);
    }
};

} // namespace

TEST_CASE("a frame destroyed while it is ready leaves the queue, wherever in it it stands") {
    scripted_loop on;
    for (unsigned destroyed = 0; destroyed < 32; ++destroyed) {
        INFO("destroyed: ", destroyed);
        std::array<std::unique_ptr<standing_frame>, 5> frames;
        for (auto& each : frames) {
            each = std::make_unique<standing_frame>(*on.loop);
            on.loop->make_ready(*each);
        }
        for (unsigned index = 0; index < frames.size(); ++index) {
            if ((destroyed & (1U << index)) != 0) {
                frames[index].reset();
            }
        }
        standing_frame last(*on.loop);
        on.loop->make_ready(last);

        const std::uint64_t before = on.loop->counters().resumptions;
        on.turn();

        std::uint64_t left = 1;
        for (const auto& each : frames) {
            if (each != nullptr) {
                ++left;
                CHECK(each->resumed());
                CHECK(!each->ready());
            }
        }
        CHECK(last.resumed());
        CHECK(on.loop->counters().resumptions - before == left);
    }
}

TEST_CASE("a frame destroyed by one that runs before it in the same round is not resumed") {
    scripted_loop on;
    for (unsigned destroyed = 0; destroyed < 32; ++destroyed) {
        INFO("destroyed: ", destroyed);
        std::array<std::unique_ptr<standing_frame>, 5> frames;
        std::unique_ptr<standing_frame> later;
        on.spawn([&]() -> gyre::task<> {
            co_await gyre::yield();
            for (unsigned index = 0; index < frames.size(); ++index) {
                if ((destroyed & (1U << index)) != 0) {
                    frames[index].reset();
                }
            }
            later = std::make_unique<standing_frame>(*on.loop);
            on.loop->make_ready(*later);
        });
        on.turn(); // Up to the yield.
        for (auto& each : frames) {
            each = std::make_unique<standing_frame>(*on.loop);
            on.loop->make_ready(*each);
        }

        on.turn();
        for (const auto& each : frames) {
            CHECK((each == nullptr || each->resumed()));
        }
        REQUIRE(later != nullptr);
        CHECK(!later->resumed());
        on.turn();
        CHECK(later->resumed());
    }
}

TEST_CASE("more frames than a round's budget go on in order, before what became ready in it") {
    scripted_loop on;
    std::vector<std::unique_ptr<standing_frame>> frames;
    const auto add = [&] {
        frames.push_back(std::make_unique<standing_frame>(*on.loop));
        on.loop->make_ready(*frames.back());
    };
    const auto resumed = [&] {
        std::size_t first = 0;
        while (first < frames.size() && frames[first]->resumed()) {
            ++first;
        }
        return first;
    };
    on.spawn([&]() -> gyre::task<> {
        co_await gyre::yield();
        add(); // In the round, behind all that wait already.
    });
    on.turn(); // Up to the yield.
    for (int made = 0; made < 600; ++made) {
        add();
    }

    on.turn();
    CHECK(resumed() >= 200);
    CHECK(resumed() <= 300);
    add();
    CHECK(frames.size() == 602);
    on.turn();
    CHECK(resumed() < 600);
    on.turn();
    CHECK(resumed() == 602);
}

TEST_SUITE_END();
