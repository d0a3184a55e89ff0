#include <gyre/scheduler/scheduler.hpp>

#include <gyre/ring/features.hpp>

#include "support/test.hpp"

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include <poll.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

// A foreign event loop: it knows the scheduler's descriptor and when it wants to be called, and
// sleeps in poll(2). Returns false when `limit` passed before `done`.
template <class Done>
bool poll_until(gyre::scheduler& driven, const Done& done, std::chrono::milliseconds limit = 20s) {
    const auto give_up = gyre::clock::now() + limit;
    for (;;) {
        const gyre::clock::time_point next = driven.turn();
        const auto now = gyre::clock::now();
        if (now >= give_up) {
            return false;
        }
        if (done()) {
            return true;
        }
        const auto until = next < give_up ? next : give_up;
        const auto wait =
            until > now ? std::chrono::ceil<std::chrono::milliseconds>(until - now) : 0ms;
        pollfd entry = {driven.pollable_descriptor(), POLLIN, 0};
        ::poll(&entry, 1, static_cast<int>(wait.count()));
    }
}

template <class Body>
void with_each_feature_set(Body&& body) {
    for (const gyre::feature_set disabled :
         {gyre::feature_set{},
          gyre::feature_set{gyre::feature::message_wake},
          gyre::feature_set{gyre::feature::defer_taskrun},
          gyre::feature_set::all()}) {
        gyre::scheduler_options options;
        options.disable = disabled;
        gyre::scheduler driven(options);
        INFO("disabled: ", driven.report().text());
        body(driven);
    }
}

// To spawn is to speak to the running scheduler, so a posted function does it.
template <class Callable>
void spawn_on(gyre::scheduler& driven, Callable callable) {
    const auto posted = driven.handle().post([callable] { gyre::spawn(callable); });
    CHECK(posted);
}

} // namespace

TEST_SUITE_BEGIN("scheduler/turn");

TEST_CASE("a turn does not wait, and says never when there is nothing to wait for") {
    gyre::scheduler driven;

    CHECK(driven.turn() == gyre::clock::time_point::max());
    CHECK(driven.turn() == gyre::clock::time_point::max());
    CHECK(driven.operations_in_flight() == 0);
}

TEST_CASE("a foreign loop drives timers and sockets through turn and the pollable descriptor") {
    with_each_feature_set([](gyre::scheduler& driven) {
        bool echoed = false;
        bool slept_well = false;
        spawn_on(driven, [&]() -> gyre::task<> {
            auto pair = co_await test::loopback_pair();
            for (int round = 0; round < 50; ++round) {
                const auto sent = co_await pair.client.send(test::bytes_of("ping"));
                CHECK(sent.value() == 4);
                std::array<std::byte, 8> buffer;
                const auto received = co_await pair.server.recv(buffer);
                CHECK(received.value() == 4);
            }
            echoed = true;
        });
        spawn_on(driven, [&]() -> gyre::task<> {
            const auto before = gyre::clock::now();
            const auto slept = co_await gyre::sleep_for(5ms);
            CHECK(slept);
            slept_well = gyre::clock::now() - before >= 5ms;
        });

        CHECK(poll_until(driven, [&] { return echoed && slept_well; }));
    });
}

TEST_CASE("the pollable descriptor turns readable when data for a waiting task arrives") {
    with_each_feature_set([](gyre::scheduler& driven) {
        std::optional<std::size_t> received;
        std::atomic<int> write_end{-1};
        spawn_on(driven, [&]() -> gyre::task<> {
            auto pair = gyre::stream::pair();
            write_end = ::dup(pair.second.native_handle());
            std::array<std::byte, 8> buffer;
            const auto got = co_await pair.first.recv(buffer);
            received = got.value();
        });
        CHECK(poll_until(driven, [&] { return write_end >= 0; }));
        std::thread later([&] {
            std::this_thread::sleep_for(5ms);
            CHECK(::write(write_end, "data", 4) == 4);
        });

        CHECK(poll_until(driven, [&] { return received.has_value(); }, 5s));

        later.join();
        CHECK(received == std::optional<std::size_t>(4));
        ::close(write_end);
    });
}

// The loop is not asleep in the engine but in poll(2), and a poster must wake it there.
TEST_CASE("a post from another thread makes the pollable descriptor readable, again and again") {
    with_each_feature_set([](gyre::scheduler& driven) {
        driven.turn();
        const auto handle = driven.handle();
        for (int round = 0; round < 5; ++round) {
            bool ran = false;
            std::thread later([&] {
                std::this_thread::sleep_for(3ms);
                const auto posted = handle.post([&] { ran = true; });
                CHECK(posted);
            });
            const bool in_time = poll_until(driven, [&] { return ran; }, 1s);
            later.join();
            CHECK(in_time);
            if (!in_time) {
                driven.turn();
                break;
            }
        }
    });
}

TEST_CASE("a turn asks to be called at once while a task is ready") {
    gyre::scheduler driven;
    bool done = false;
    spawn_on(driven, [&]() -> gyre::task<> {
        for (int count = 0; count < 3; ++count) {
            co_await gyre::yield();
        }
        done = true;
    });

    for (int turn = 0; turn < 4; ++turn) {
        const auto next = driven.turn();
        if (!done) {
            CHECK(next <= gyre::clock::now());
        }
    }
    CHECK(done);
}

TEST_SUITE_END();
