#include <gyre/op/futex.hpp>

#include <gyre/ring/engine.hpp>
#include <gyre/ring/uapi.hpp>

#include "support/test.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <system_error>
#include <thread>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

bool has_futexes() {
    const auto& report = gyre::scheduler::current().report();
    return report.opcodes[gyre::detail::uapi::op_futex_wait];
}

} // namespace

TEST_SUITE_BEGIN("op/futex");

TEST_CASE("futex_wait resumes when another thread wakes the word") {
    test::on_every_engine([]() -> gyre::task<> {
        std::atomic<std::uint32_t> word{0};
        if (!has_futexes()) {
            const auto missing = co_await gyre::op::futex_wait(word, 0);
            CHECK(missing.error() == std::errc::function_not_supported);
            const auto woken = co_await gyre::op::futex_wake(word, 1);
            CHECK(woken.error() == std::errc::function_not_supported);
            co_return;
        }
        std::atomic<bool> over{false};
        std::thread other([&] {
            word.store(1);
            while (!over.load()) { // The wake must not come before the wait.
                ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
                std::this_thread::yield();
            }
        });
        while (word.load() == 0) {
            const auto waited = co_await gyre::op::futex_wait(word, 0);
            CHECK((waited || waited.error() == std::errc::resource_unavailable_try_again));
        }
        const auto woken = co_await gyre::op::futex_wait(word, 1);
        CHECK(woken);
        over = true;
        other.join();
        const auto stale = co_await gyre::op::futex_wait(word, 0);
        CHECK(stale.error() == std::errc::resource_unavailable_try_again);
    });
}

TEST_CASE("futex_wake wakes tasks and threads and says how many") {
    test::on_every_engine([]() -> gyre::task<> {
        if (!has_futexes()) {
            if (gyre::scheduler::current().report().engine == gyre::engine_kind::uring) {
                test::skip("the ring has no futexes (6.7)");
            }
            co_return;
        }
        std::atomic<std::uint32_t> word{7};
        int resumed = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (int count = 0; count < 3; ++count) {
                scope.spawn([&]() -> gyre::task<> {
                    const auto waited = co_await gyre::op::futex_wait(word, 7);
                    CHECK(waited);
                    ++resumed;
                });
            }
            co_await gyre::yield();
            co_await gyre::yield();
            const auto two = co_await gyre::op::futex_wake(word, 2);
            CHECK(two.value() == 2);
            const auto rest = co_await gyre::op::futex_wake(word, INT_MAX);
            CHECK(rest.value() == 1);
        };
        co_await gyre::with_scope(body);
        CHECK(resumed == 3);
        const auto nobody = co_await gyre::op::futex_wake(word, 1);
        CHECK(nobody.value() == 0);
    });
}

TEST_CASE("futex_wait is canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        if (!has_futexes()) {
            if (gyre::scheduler::current().report().engine == gyre::engine_kind::uring) {
                test::skip("the ring has no futexes (6.7)");
            }
            co_return;
        }
        std::atomic<std::uint32_t> word{0};
        const auto waited = co_await gyre::with_timeout(
            gyre::op::futex_wait(word, 0), std::chrono::milliseconds(2)
        );
        CHECK(waited.error() == gyre::errc::timed_out);
    });
}

TEST_SUITE_END();
