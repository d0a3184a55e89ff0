#include <gyre/task/scope.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

TEST_SUITE_BEGIN("task/scope");

namespace {

using namespace std::chrono_literals;

// Waits until somebody cancels it, and says that it was.
gyre::task<> wait_for_cancel(bool& canceled) {
    const auto slept = co_await gyre::sleep_for(1h);
    canceled = slept.error() == std::errc::operation_canceled;
}

gyre::task<gyre::result<void>> fail_with(int error) {
    co_await gyre::yield();
    co_return gyre::errno_code(error);
}

gyre::task<> throw_text(const char* text) {
    co_await gyre::yield();
    throw std::runtime_error(text);
}

// Notes its end, wherever it was moved to.
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

// Opens `depth` scopes inside of each other, each with a child that waits for a cancel.
gyre::task<> open_scopes(int depth, int& waiting, int& canceled) {
    auto body = [&, depth](gyre::scope& tasks) -> gyre::task<> {
        auto child = [&]() -> gyre::task<> {
            ++waiting;
            const auto slept = co_await gyre::sleep_for(1h);
            canceled += slept.error() == gyre::errno_code(ECANCELED) ? 1 : 0;
        };
        tasks.spawn(child);
        if (depth > 1) {
            co_await open_scopes(depth - 1, waiting, canceled);
        }
        const auto joined = co_await tasks.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
}

// Each child spawns two siblings for the next generation.
gyre::task<> breed(gyre::scope& tasks, int generations, int& count) {
    co_await gyre::yield();
    ++count;
    if (generations > 0) {
        tasks.spawn(breed, std::ref(tasks), generations - 1, std::ref(count));
        tasks.spawn(breed, std::ref(tasks), generations - 1, std::ref(count));
    }
}

} // namespace

TEST_CASE("a scope yields what its body yields") {
    test::on_every_engine([]() -> gyre::task<> {
        const int value =
            co_await gyre::with_scope([](gyre::scope&) -> gyre::task<int> { co_return 9; });
        CHECK(value == 9);
    });
}

TEST_CASE("a scope yields a move-only value of its body") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto value =
            co_await gyre::with_scope([](gyre::scope& tasks) -> gyre::task<std::unique_ptr<int>> {
                tasks.spawn([]() -> gyre::task<> { co_await gyre::yield(); });
                co_return std::make_unique<int>(4);
            });
        REQUIRE(value != nullptr);
        CHECK(*value == 4);
    });
}

TEST_CASE("a scope does not end before its children") {
    test::on_every_engine([]() -> gyre::task<> {
        int ended = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            for (int i = 0; i < 100; ++i) {
                tasks.spawn(
                    [&ended](int rounds) -> gyre::task<> {
                        for (int round = 0; round < rounds; ++round) {
                            co_await gyre::yield();
                        }
                        ++ended;
                    },
                    i
                );
            }
            co_return;
        };
        co_await gyre::with_scope(body);
        CHECK(ended == 100);
    });
}

TEST_CASE("a child starts only when its parent suspends or ends") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            auto child = [&]() -> gyre::task<> {
                events += 'c';
                co_return;
            };
            tasks.spawn(child);
            events += 'p';
            co_await gyre::yield();
            events += 'q';
        };
        co_await gyre::with_scope(body);
        CHECK(events == "pcq");
    });
}

TEST_CASE("size counts the children that have not ended") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<> {
            CHECK(tasks.size() == 0);
            bool canceled = false;
            tasks.spawn([]() -> gyre::task<> { co_return; });
            tasks.spawn(wait_for_cancel, std::ref(canceled));
            CHECK(tasks.size() == 2);

            co_await gyre::yield();
            CHECK(tasks.size() == 1);

            tasks.cancel();
            const auto joined = co_await tasks.join();
            CHECK(joined);
            CHECK(tasks.size() == 0);
            CHECK(canceled);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("join waits for every child, and the body may go on and spawn again") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<> {
            int ended = 0;
            auto child = [&]() -> gyre::task<> {
                co_await gyre::yield();
                ++ended;
            };
            for (int round = 1; round <= 3; ++round) {
                tasks.spawn(child);
                tasks.spawn(child);
                const auto joined = co_await tasks.join();
                CHECK(joined);
                CHECK(ended == 2 * round);
            }
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("join without children is over at once") {
    test::on_every_engine([]() -> gyre::task<> {
        co_await gyre::with_scope([](gyre::scope& tasks) -> gyre::task<> {
            const auto joined = co_await tasks.join();
            CHECK(joined);
        });
    });
}

TEST_CASE("a canceled join still waits for the children: they may use the body's locals") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<> {
            int rounds_left = 10; // Lent to the child.
            auto child = [&]() -> gyre::task<> {
                while (rounds_left > 0) {
                    co_await gyre::yield();
                    --rounds_left;
                }
            };
            tasks.spawn(child);
            tasks.cancel();
            const auto joined = co_await tasks.join();
            CHECK(joined);
            CHECK(rounds_left == 0);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a limit on a join ends the wait, and the children go on") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<> {
            bool canceled = false;
            tasks.spawn(wait_for_cancel, std::ref(canceled));

            // The drain that everybody writes: ask, wait a while, then cancel. A child of this
            // test's own ends what would otherwise hang, so that a failure is one.
            tasks.request_stop();
            bool rescued = false;
            auto rescue = [&]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(2s);
                if (slept) {
                    rescued = true;
                    tasks.cancel();
                }
            };
            tasks.spawn(rescue);
            const auto drained = co_await gyre::with_timeout(tasks.join(), 1ms);
            CHECK_FALSE(rescued);
            CHECK(drained.error() == gyre::errc::timed_out);

            tasks.cancel();
            const auto joined = co_await tasks.join();
            CHECK(joined);
            CHECK(canceled);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a child that throws cancels its siblings and the body, and join throws it") {
    test::on_every_engine([]() -> gyre::task<> {
        bool sibling_canceled = false;
        bool joined_first = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(sibling_canceled));
            tasks.spawn(throw_text, "child");
            try {
                const auto joined = co_await tasks.join();
                static_cast<void>(joined);
            } catch (const std::runtime_error& error) {
                joined_first = std::string(error.what()) == "child";
            }
            CHECK(tasks.canceled());
        };
        CHECK_THROWS_WITH_AS(co_await gyre::with_scope(body), "child", std::runtime_error);
        CHECK(sibling_canceled);
        CHECK(joined_first);
    });
}

TEST_CASE("a child that throws cancels what the body awaits") {
    test::on_every_engine([]() -> gyre::task<> {
        std::error_code body_saw;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(throw_text, "child");
            const auto slept = co_await gyre::sleep_for(1h);
            body_saw = slept.error();
        };
        CHECK_THROWS_WITH_AS(co_await gyre::with_scope(body), "child", std::runtime_error);
        CHECK(body_saw == std::errc::operation_canceled);
    });
}

TEST_CASE("a failed result of a child cancels its siblings and is the outcome") {
    test::on_every_engine([]() -> gyre::task<> {
        bool sibling_canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            tasks.spawn(wait_for_cancel, std::ref(sibling_canceled));
            tasks.spawn(fail_with, EPROTO);
            const auto joined = co_await tasks.join();
            CHECK(joined.error() == gyre::errno_code(EPROTO));
            co_return gyre::result<void>();
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
        CHECK(sibling_canceled);
    });
}

TEST_CASE("a failed result of a child takes the place of the body's value") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<gyre::result<std::string>> {
            tasks.spawn(fail_with, EPROTO);
            co_return std::string(100, 'v');
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
    });
}

TEST_CASE("a failed result of a child is thrown where the body yields no result") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<int> {
            tasks.spawn(fail_with, EPROTO);
            co_return 1;
        };
        std::error_code thrown;
        try {
            const int value = co_await gyre::with_scope(body);
            static_cast<void>(value);
        } catch (const std::system_error& error) {
            thrown = error.code();
        }
        CHECK(thrown == gyre::errno_code(EPROTO));
    });
}

TEST_CASE("a child's result that succeeded cancels nobody") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([]() -> gyre::task<gyre::result<void>> { co_return gyre::result<void>(); });
            co_await gyre::yield();
            co_await gyre::yield();
            CHECK_FALSE(tasks.canceled());
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("the first failure is the outcome, not those that its cancel caused") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            tasks.spawn([]() -> gyre::task<gyre::result<void>> {
                const auto slept = co_await gyre::sleep_for(1h);
                co_return slept; // ECANCELED
            });
            tasks.spawn([]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(1h);
                CHECK_FALSE(slept);
                throw std::runtime_error("second");
            });
            tasks.spawn(fail_with, EPROTO);
            const auto joined = co_await tasks.join();
            co_return joined;
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
    });
}

TEST_CASE("a body that throws cancels the children, and what it threw is the outcome") {
    test::on_every_engine([]() -> gyre::task<> {
        bool child_canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(child_canceled));
            co_await gyre::yield();
            throw std::runtime_error("body");
        };
        CHECK_THROWS_WITH_AS(co_await gyre::with_scope(body), "body", std::runtime_error);
        CHECK(child_canceled);
    });
}

TEST_CASE("a body that throws at once ends children that have not started yet") {
    test::on_every_engine([]() -> gyre::task<> {
        bool child_canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(child_canceled));
            throw std::runtime_error("body");
            co_return;
        };
        CHECK_THROWS_WITH_AS(co_await gyre::with_scope(body), "body", std::runtime_error);
        CHECK(child_canceled);
    });
}

TEST_CASE("a body that yields a failed result cancels the children") {
    test::on_every_engine([]() -> gyre::task<> {
        bool child_canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<int>> {
            tasks.spawn(wait_for_cancel, std::ref(child_canceled));
            co_await gyre::yield();
            co_return gyre::errno_code(ENOENT);
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(ENOENT));
        CHECK(child_canceled);
    });
}

TEST_CASE("a body that leaves by or_return cancels the children that wait, and they are joined") {
    test::on_every_engine([]() -> gyre::task<> {
        bool sleeper_canceled = false;
        std::error_code receiver_saw;
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 16> buffer;
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<int>> {
            tasks.spawn(wait_for_cancel, std::ref(sleeper_canceled));
            auto receiving = [&]() -> gyre::task<> {
                const auto received = co_await pair.server.recv(buffer);
                receiver_saw = received.error();
            };
            tasks.spawn(receiving);
            co_await gyre::yield();
            co_await gyre::or_return(fail_with(ENOENT));
            co_return 1;
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(ENOENT));
        CHECK(sleeper_canceled);
        CHECK(receiver_saw == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("a body that leaves by or_return before its children start cancels them too") {
    test::on_every_engine([]() -> gyre::task<> {
        bool child_canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            tasks.cancel();
            tasks.spawn(wait_for_cancel, std::ref(child_canceled));
            co_await gyre::or_return(gyre::sleep_for(1h)); // Refused: over at once.
            CHECK(false);
            co_return gyre::result<void>();
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(ECANCELED));
        CHECK(child_canceled);
    });
}

TEST_CASE("the failure of an inner scope ends the inner one first, then the outer one") {
    test::on_every_engine([]() -> gyre::task<> {
        bool inner_canceled = false;
        bool outer_canceled = false;
        bool inner_was_over = false;
        auto inner = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(inner_canceled));
            tasks.spawn(throw_text, "inner");
            co_return;
        };
        auto outer = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(outer_canceled));
            try {
                co_await gyre::with_scope(inner);
            } catch (const std::runtime_error&) {
                inner_was_over = inner_canceled && !outer_canceled;
                throw;
            }
        };
        CHECK_THROWS_WITH_AS(co_await gyre::with_scope(outer), "inner", std::runtime_error);
        CHECK(inner_was_over);
        CHECK(outer_canceled);
    });
}

TEST_CASE("a cancel of the outer scope reaches the children of scopes below, at any depth") {
    test::on_every_engine([]() -> gyre::task<> {
        int canceled = 0;
        int waiting = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(open_scopes, 20, std::ref(waiting), std::ref(canceled));
            while (waiting < 20) {
                co_await gyre::yield();
            }
            tasks.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(canceled == 20);
    });
}

TEST_CASE("a scope opened in a canceled task begins canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        std::error_code child_saw;
        std::error_code body_saw;
        auto inner = [&](gyre::scope& tasks) -> gyre::task<> {
            CHECK(tasks.canceled());
            auto child = [&]() -> gyre::task<> {
                const auto slept = co_await gyre::sleep_for(1h);
                child_saw = slept.error();
            };
            tasks.spawn(child);
            const auto slept = co_await gyre::sleep_for(1h);
            body_saw = slept.error();
        };
        auto outer = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.cancel();
            co_await gyre::with_scope(inner);
        };
        co_await gyre::with_scope(outer);
        CHECK(child_saw == gyre::errno_code(ECANCELED));
        CHECK(body_saw == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("a child may spawn siblings, also as the last one when the body is over") {
    test::on_every_engine([]() -> gyre::task<> {
        int ended = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(breed, std::ref(tasks), 6, std::ref(ended));
            co_return;
        };
        co_await gyre::with_scope(body);
        CHECK(ended == 127);
    });
}

TEST_CASE("spawn keeps a capturing lambda for as long as its coroutine") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string seen;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            const std::string text(100, 'k');
            tasks.spawn([&seen, text]() -> gyre::task<> {
                co_await gyre::yield();
                co_await gyre::yield();
                seen = text;
            });
            co_return;
        };
        co_await gyre::with_scope(body);
        CHECK(seen == std::string(100, 'k'));
    });
}

TEST_CASE("spawn moves its arguments along, move-only ones too") {
    test::on_every_engine([]() -> gyre::task<> {
        int seen = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(
                [&](std::unique_ptr<int> owned, std::string text) -> gyre::task<> {
                    co_await gyre::yield();
                    seen = *owned + static_cast<int>(text.size());
                },
                std::make_unique<int>(5),
                std::string(100, 'a')
            );
            co_return;
        };
        co_await gyre::with_scope(body);
        CHECK(seen == 105);
    });
}

TEST_CASE("spawn takes a task that was made before") {
    test::on_every_engine([]() -> gyre::task<> {
        bool canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            tasks.spawn(wait_for_cancel(canceled));
            auto failing = fail_with(EPROTO);
            tasks.spawn(std::move(failing));
            co_return gyre::result<void>();
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
        CHECK(canceled);
    });
}

TEST_CASE("callable and arguments go after the coroutine, and before the scope ends") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            auto callable = [held = noting(events, 'f'), &events](noting) -> gyre::task<> {
                const noting local(events, 'l');
                co_await gyre::yield();
                events += 'r';
            };
            tasks.spawn(std::move(callable), noting(events, 'a'));
            co_await gyre::yield();
            CHECK(events.empty());
            const auto joined = co_await tasks.join();
            CHECK(joined);
            events += 'j';
        };
        co_await gyre::with_scope(body);
        events += 's';
        // Locals, the coroutine's parameter, the callable; then whoever joined, then the scope.
        CHECK(events == "rlafjs");
    });
}

TEST_CASE("what a callable throws before its coroutine exists comes out of spawn") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            auto failing = [&](const noting&) -> gyre::task<> {
                throw std::runtime_error("no coroutine"); // No coroutine: nothing suspends here.
            };
            CHECK_THROWS_WITH_AS(
                tasks.spawn(failing, noting(events, 'a')), "no coroutine", std::runtime_error
            );
            CHECK(tasks.size() == 0);
            CHECK_FALSE(tasks.canceled());
            CHECK(events == "a");
            co_return;
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("what a body's callable throws before its coroutine exists is the outcome") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope&) -> gyre::task<> { throw std::runtime_error("no body"); };
        CHECK_THROWS_WITH_AS(co_await gyre::with_scope(body), "no body", std::runtime_error);
    });
}

TEST_CASE("a body's callable may spawn before it makes its coroutine") {
    test::on_every_engine([]() -> gyre::task<> {
        bool ran = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            auto child = [&]() -> gyre::task<> {
                ran = true;
                co_return;
            };
            tasks.spawn(child);
            return []() -> gyre::task<> { co_return; }();
        };
        co_await gyre::with_scope(body);
        CHECK(ran);
    });
}

TEST_CASE("a child can cancel the scope that it runs in") {
    test::on_every_engine([]() -> gyre::task<> {
        bool canceled = false;
        std::error_code own;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(canceled));
            auto canceling = [&]() -> gyre::task<> {
                tasks.cancel();
                const auto slept = co_await gyre::sleep_for(1h);
                own = slept.error();
            };
            tasks.spawn(canceling);
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(canceled);
        CHECK(own == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("canceling twice, or asking after canceling, changes nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        bool canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(canceled));
            co_await gyre::yield();
            tasks.cancel();
            tasks.cancel();
            tasks.request_stop();
            CHECK(tasks.canceled());
            CHECK(tasks.stop_requested());
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(canceled);
    });
}

TEST_CASE("another thread cancels a scope by posting to its scheduler") {
    test::on_every_engine([]() -> gyre::task<> {
        bool canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(wait_for_cancel, std::ref(canceled));
            std::jthread other([&tasks, handle = gyre::scheduler::current().handle()] {
                const auto posted = handle.post([&tasks]() noexcept { tasks.cancel(); });
                CHECK(posted);
            });
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(canceled);
    });
}

TEST_CASE("another thread asks a scope to stop by posting to its scheduler") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<> {
            std::jthread other([&tasks, handle = gyre::scheduler::current().handle()] {
                const auto posted = handle.post([&tasks]() noexcept { tasks.request_stop(); });
                CHECK(posted);
            });
            const auto waited = co_await gyre::idle(gyre::sleep_for(1h));
            CHECK(waited.error() == gyre::errc::stopped);
            CHECK(tasks.stop_requested());
            CHECK_FALSE(tasks.canceled());
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("another thread's function may spawn into a scope") {
    test::on_every_engine([]() -> gyre::task<> {
        bool ran = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            std::jthread other([&, handle = gyre::scheduler::current().handle()] {
                const auto posted = handle.post([&]() noexcept {
                    tasks.spawn([&]() -> gyre::task<> {
                        co_await gyre::yield();
                        ran = true;
                    });
                });
                CHECK(posted);
            });
            while (!ran) {
                const auto slept = co_await gyre::sleep_for(100us);
                CHECK(slept);
            }
        };
        co_await gyre::with_scope(body);
        CHECK(ran);
    });
}

TEST_CASE("a local whose destructor cancels the scope may go by or_return") {
    test::on_every_engine([]() -> gyre::task<> {
        struct canceling {
            explicit canceling(gyre::scope& which) noexcept : tasks(which) {}
            canceling(const canceling&) = delete;
            canceling& operator=(const canceling&) = delete;
            ~canceling() { tasks.cancel(); }
            gyre::scope& tasks;
        };
        bool sibling_canceled = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            tasks.spawn(wait_for_cancel, std::ref(sibling_canceled));
            const canceling at_end(tasks);
            co_await gyre::or_return(gyre::with_timeout(fail_with(EPROTO), 1h));
            co_return gyre::result<void>();
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
        CHECK(sibling_canceled);
    });
}

TEST_CASE("a thousand children that end in the same turn are all joined") {
    test::on_every_engine([]() -> gyre::task<> {
        int ended = 0;
        bool open = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            for (int i = 0; i < 1'000; ++i) {
                tasks.spawn([&]() -> gyre::task<> {
                    while (!open) {
                        co_await gyre::yield();
                    }
                    ++ended;
                });
            }
            co_await gyre::yield();
            open = true;
            const auto joined = co_await tasks.join();
            CHECK(joined);
            CHECK(ended == 1'000);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();
