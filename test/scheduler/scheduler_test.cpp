#include <gyre/scheduler/scheduler.hpp>

#include <gyre/ring/features.hpp>
#include <gyre/ring/uapi.hpp>

#include "support/test.hpp"

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

std::vector<std::string> lines;

void keep_line(gyre::log_level, std::string_view text) noexcept {
    lines.emplace_back(text);
}

// Collects what is logged while it lives.
struct log_catcher {
    log_catcher() {
        lines.clear();
        before = gyre::set_log_hook(&keep_line);
    }
    ~log_catcher() { gyre::set_log_hook(before); }
    log_catcher(const log_catcher&) = delete;
    log_catcher& operator=(const log_catcher&) = delete;
    gyre::log_hook before;
};

std::chrono::nanoseconds processor_time() {
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

} // namespace

TEST_SUITE_BEGIN("scheduler/scheduler");

TEST_CASE("the clock is steady, and inside a scheduler it is the one by which timers wait") {
    const auto outside = gyre::clock::now();
    test::on_every_engine([&]() -> gyre::task<> {
        const auto inside = gyre::clock::now();
        CHECK(inside >= outside);
        CHECK(inside - outside < 1min);
        const auto slept = co_await gyre::sleep_until(inside + 2ms);
        CHECK(slept);
        CHECK(gyre::clock::now() >= inside + 2ms);
    });
}

TEST_CASE("counters tell what a scheduler did") {
    test::on_every_engine([]() -> gyre::task<> {
        namespace uapi = gyre::detail::uapi;
        auto pair = gyre::stream::pair();
        std::array<std::byte, 8> buffer;
        const gyre::scheduler& here = gyre::scheduler::current();
        const auto before = here.counters();

        const auto sent = co_await pair.first.send(test::bytes_of("abc"));
        const auto received = co_await pair.second.recv(buffer);
        const auto late = co_await gyre::with_timeout(pair.second.recv(buffer), 1ms);
        const auto closed = pair.second.shutdown(gyre::shutdown_side::both);
        const auto broken = co_await pair.first.send(test::bytes_of("abc"));
        const auto after = here.counters();

        CHECK(sent);
        CHECK(received);
        CHECK(!late);
        CHECK(closed);
        CHECK(!broken);
        const auto& sends = after.completions[uapi::op_send];
        const auto& receives = after.completions[uapi::op_recv];
        CHECK(sends.succeeded - before.completions[uapi::op_send].succeeded == 1);
        CHECK(sends.failed - before.completions[uapi::op_send].failed == 1);
        CHECK(receives.succeeded - before.completions[uapi::op_recv].succeeded == 1);
        CHECK(receives.canceled - before.completions[uapi::op_recv].canceled == 1);
        CHECK(after.cancels_found - before.cancels_found == 1);
        CHECK(after.timers_fired - before.timers_fired == 1);
        CHECK(after.submissions - before.submissions >= 5); // The cancel is one.
        CHECK(after.enters > before.enters);
        CHECK(after.turns > before.turns);
        CHECK(after.resumptions > before.resumptions);
        CHECK(after.stray_completions == 0);
        CHECK(after.forced_drains == 0);
        const std::string text = after.text();
        CHECK(text.find("\nsend_failed=") != std::string::npos);
        CHECK(text.find("\nrecv_canceled=") != std::string::npos);
        CHECK(text.find("accept_") == std::string::npos);
    });
}

TEST_CASE("a task that yields forever starves neither a timer nor a socket nor a post") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        bool posted_ran = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (int count = 0; count < 300; ++count) { // More than a turn's budget.
                scope.spawn([]() -> gyre::task<> {
                    while (!gyre::this_task::canceled()) {
                        co_await gyre::yield();
                    }
                });
            }
            const auto slept = co_await gyre::sleep_for(2ms);
            CHECK(slept);
            const auto sent = co_await pair.client.send(test::bytes_of("x"));
            CHECK(sent);
            std::array<std::byte, 8> buffer;
            const auto received = co_await pair.server.recv(buffer);
            CHECK(received);
            const auto handle = gyre::scheduler::current().handle();
            std::thread poster([&] {
                const auto posted = handle.post([&] { posted_ran = true; });
                CHECK(posted);
            });
            poster.join();
            for (int turn = 0; turn < 1000 && !posted_ran; ++turn) {
                co_await gyre::yield();
            }
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(posted_ran);
    });
}

// It comes back at once, without a wait.
gyre::task<int> ended_at_once() {
    co_return 1;
}

gyre::task<std::size_t> await_until_canceled() {
    std::size_t count = 0;
    while (!gyre::this_task::canceled()) {
        const int one = co_await ended_at_once();
        count += static_cast<std::size_t>(one);
    }
    co_return count;
}

TEST_CASE("a task that awaits ended tasks over and over meets its limit all the same") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto counted = co_await gyre::with_timeout(await_until_canceled(), 100ms);
        REQUIRE(counted.has_value());
        CHECK(*counted > 64); // More than goes on between two looks at the clock.
    });
}

TEST_CASE("a task whose awaits all end at once starves nobody") {
    test::on_every_engine([]() -> gyre::task<> {
        bool timer_fired = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(1ms);
                CHECK(slept);
                timer_fired = true;
            });
            auto pair = gyre::stream::pair();
            const auto nothing = [&]() -> gyre::task<> {
                const auto sent = co_await gyre::send_all(pair.first, {});
                CHECK(sent);
            };
            const auto give_up = gyre::clock::now() + 20s;
            while (!timer_fired && gyre::clock::now() < give_up) {
                const auto sent = co_await gyre::send_all(pair.first, {});
                CHECK(sent);
                co_await nothing();
            }
        };
        co_await gyre::with_scope(body);
        CHECK(timer_fired);
    });
}

TEST_CASE("an idle scheduler uses no processor time") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<std::byte, 8> buffer;
        const auto before = processor_time();
        const auto turns = gyre::scheduler::current().counters().turns;

        const auto late = co_await gyre::with_timeout(pair.first.recv(buffer), 100ms);

        CHECK(late.error() == gyre::errc::timed_out);
        CHECK(processor_time() - before < 50ms);
        CHECK(gyre::scheduler::current().counters().turns - turns < 20);
    });
}

TEST_CASE("tasks that are left when a scheduler ends are canceled and joined") {
    int ended = 0;
    test::on_every_engine([&]() -> gyre::task<> {
        ended = 0;
        auto shared = std::make_shared<gyre::stream_pair>(gyre::stream::pair());
        gyre::spawn([&ended, shared]() -> gyre::task<> {
            std::array<std::byte, 8> buffer;
            const auto received = co_await shared->first.recv(buffer);
            CHECK(received.error() == std::errc::operation_canceled);
            ++ended;
        });
        gyre::spawn([&ended]() -> gyre::task<> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK(slept.error() == std::errc::operation_canceled);
            ++ended;
        });
        gyre::spawn([&ended]() -> gyre::task<> {
            auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
            const auto accepted = co_await listener.accept();
            CHECK(accepted.error() == std::errc::operation_canceled);
            ++ended;
        });
        co_await gyre::yield();
        co_await gyre::yield();
        co_return;
    });
    CHECK(ended == 3);
}

TEST_CASE("a task that was spawned and never ran is canceled with its scheduler, and still runs") {
    bool ran = false;
    test::on_every_engine([&]() -> gyre::task<> {
        gyre::spawn([&ran]() -> gyre::task<> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK(slept.error() == std::errc::operation_canceled);
            ran = true;
        });
        co_return;
    });
    CHECK(ran);
}

TEST_CASE("a task that a teardown cannot end is named with its line, and left with its memory") {
    const log_catcher log;
    gyre::scheduler_options options;
    options.teardown_limit = 50ms;
    int peer = -1;
    std::byte* buffer_of_straggler = nullptr;
    std::optional<gyre::scheduler_handle> handle;
    int line = 0;
    const auto before = gyre::clock::now();

    gyre::run(options, [&]() -> gyre::task<> {
        handle.emplace(gyre::scheduler::current().handle());
        gyre::spawn([&peer, &line, &buffer_of_straggler]() -> gyre::task<> {
            auto pair = gyre::stream::pair();
            peer = ::dup(pair.second.native_handle());
            std::array<std::byte, 8> buffer{};
            buffer_of_straggler = buffer.data();
            line = __LINE__ + 1;
            const auto received = co_await gyre::shielded(pair.first.recv(buffer));
            CHECK(received); // Never: nobody drives this scheduler by then.
        });
        co_await gyre::yield();
        co_await gyre::yield();
    });

    CHECK(gyre::clock::now() - before >= 50ms);
    CHECK(gyre::clock::now() - before < 20s);
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].find("scheduler_test.cpp:" + std::to_string(line)) != std::string::npos);
    CHECK(lines[0].find("awaiting task") == std::string::npos);
    CHECK(lines[1].find("1 operations") != std::string::npos);
    // The kernel still has the buffer, so it must be memory that nobody else uses.
    REQUIRE(::send(peer, "late", 4, 0) == 4);
    ::close(peer);
    std::byte copy[8];
    std::memcpy(copy, buffer_of_straggler, sizeof copy);
    // It has ended for everybody else.
    auto token = std::make_shared<int>(0);
    const auto posted = handle->post([token] {});
    CHECK(posted.error() == gyre::errc::closed);
    CHECK(token.use_count() == 1);
}

TEST_CASE("a task that loops on and ignores its cancel is named by a line in the log") {
    const log_catcher log;
    test::on_every_engine([&]() -> gyre::task<> {
        auto body = [](gyre::scope& scope) -> gyre::task<> {
            auto pair = gyre::stream::pair();
            std::array<std::byte, 8> buffer;
            scope.cancel();
            for (int count = 0; count < 1001; ++count) {
                const auto received = co_await pair.first.recv(buffer);
                CHECK(received.error() == std::errc::operation_canceled);
            }
        };
        co_await gyre::with_scope(body);
        CHECK(gyre::scheduler::current().counters().refusals == 1001);
    });
    REQUIRE(lines.size() == test::engines().size());
    CHECK(lines[0].find("scheduler_test.cpp:") != std::string::npos);
}

TEST_CASE("a teardown limit without end waits for tasks instead of leaving them") {
    const log_catcher log;
    gyre::scheduler_options options;
    options.teardown_limit = std::chrono::milliseconds::max();
    bool ended = false;
    test::on_every_engine(options, [&]() -> gyre::task<> {
        gyre::spawn([&ended]() -> gyre::task<> {
            const auto slept = co_await gyre::shielded(gyre::sleep_for(20ms));
            CHECK(slept);
            ended = true;
        });
        co_await gyre::yield();
    });
    CHECK(ended);
    CHECK(lines.empty());
}

TEST_CASE("a scheduler closes every descriptor it opened") {
    const std::size_t before = test::open_descriptors();
    for (const gyre::feature_set disabled : {gyre::feature_set{}, gyre::feature_set::all()}) {
        gyre::scheduler_options options;
        options.disable = disabled;
        test::on_every_engine(options, []() -> gyre::task<> {
            auto pair = co_await test::loopback_pair();
            std::array<std::byte, 8> buffer;
            const auto late = co_await gyre::with_timeout(pair.client.recv(buffer), 1ms);
            CHECK(!late);
        });
    }
    CHECK(test::open_descriptors() == before);
}

TEST_SUITE_END();
