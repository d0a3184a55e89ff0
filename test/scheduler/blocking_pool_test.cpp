#include "scheduler/blocking_pool.hpp"

#include "support/child.hpp"
#include "support/fuzz.hpp"
#include "support/seccomp.hpp"
#include "support/test.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/syscall.h>

using gyre::detail::blocking_job;
using gyre::detail::blocking_pool;
using namespace std::chrono_literals;

namespace {

// A function as a job. It belongs to the test, which waits for it.
class function_job final : public blocking_job {
public:
    explicit function_job(std::function<void()> function)
        : blocking_job(&function_job::make_call), function_(std::move(function)) {}

    void wait() {
        std::unique_lock lock(lock_);
        changed_.wait(lock, [this] { return done_; });
    }
    bool done() {
        const std::scoped_lock lock(lock_);
        return done_;
    }

private:
    static void make_call(blocking_job& base) noexcept {
        auto& self = static_cast<function_job&>(base);
        self.function_();
        const std::scoped_lock lock(self.lock_);
        self.done_ = true;
        self.changed_.notify_all();
    }

    std::function<void()> function_;
    std::mutex lock_;
    std::condition_variable changed_;
    bool done_ = false;
};

// Holds up whoever comes, until it is opened; knows how many are there.
class gate {
public:
    void pass() {
        std::unique_lock lock(lock_);
        ++arrived_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return open_; });
    }
    void open() {
        const std::scoped_lock lock(lock_);
        open_ = true;
        changed_.notify_all();
    }
    void wait_for(std::size_t count) {
        std::unique_lock lock(lock_);
        changed_.wait(lock, [&] { return arrived_ >= count; });
    }
    std::size_t arrived() {
        const std::scoped_lock lock(lock_);
        return arrived_;
    }

private:
    std::mutex lock_;
    std::condition_variable changed_;
    std::size_t arrived_ = 0;
    bool open_ = false;
};

#if defined(__SANITIZE_THREAD__)
constexpr bool may_start_threads_after_fork = false;
#elif defined(__has_feature)
constexpr bool may_start_threads_after_fork = !__has_feature(thread_sanitizer);
#else
constexpr bool may_start_threads_after_fork = true;
#endif

constexpr blocking_pool::limits two_threads{.threads = 2, .idle = 1h};

TEST_SUITE_BEGIN("scheduler/blocking_pool");

TEST_CASE("a job runs on another thread, on which all signals are blocked") {
    blocking_pool pool(two_threads);
    std::thread::id where;
    sigset_t mask;
    function_job job([&] {
        where = std::this_thread::get_id();
        pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    });

    CHECK(pool.submit(job) == 0);
    job.wait();

    CHECK(where != std::this_thread::get_id());
    CHECK(sigismember(&mask, SIGINT) == 1);
    CHECK(sigismember(&mask, SIGTERM) == 1);
    sigset_t mine;
    pthread_sigmask(SIG_BLOCK, nullptr, &mine);
    CHECK(sigismember(&mine, SIGINT) == 0);
}

TEST_CASE("a pool has no thread before its first job") {
    blocking_pool pool(two_threads);
    CHECK(pool.threads() == 0);
    function_job first([] {});
    CHECK(pool.submit(first) == 0);
    first.wait();
    CHECK(pool.threads() == 1);
}

TEST_CASE("as many jobs run at a time as there may be threads, the rest in order") {
    blocking_pool pool(two_threads);
    gate held;
    std::mutex lock;
    std::vector<int> order;
    std::vector<std::unique_ptr<function_job>> jobs;
    for (int index = 0; index < 2; ++index) {
        jobs.push_back(std::make_unique<function_job>([&] { held.pass(); }));
        CHECK(pool.submit(*jobs.back()) == 0);
    }
    held.wait_for(2);
    gate second;
    jobs.push_back(std::make_unique<function_job>([&] { second.pass(); }));
    CHECK(pool.submit(*jobs.back()) == 0); // Keeps the other thread from overtaking.
    for (int index = 0; index < 10; ++index) {
        jobs.push_back(std::make_unique<function_job>([&, index] {
            const std::scoped_lock guard(lock);
            order.push_back(index);
        }));
        CHECK(pool.submit(*jobs.back()) == 0);
    }
    CHECK(pool.threads() == 2);
    CHECK(order.empty());

    held.open();
    for (std::size_t index = 3; index < jobs.size(); ++index) {
        jobs[index]->wait();
    }
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    CHECK(!jobs[2]->done());
    second.open();
    for (const auto& each : jobs) {
        each->wait();
    }
}

TEST_CASE("an idle thread takes one job, and another thread is started for the next") {
    for (int round = 0; round < 50; ++round) {
        blocking_pool pool(two_threads);
        function_job first([] {});
        CHECK(pool.submit(first) == 0);
        first.wait();
        std::this_thread::yield(); // Idle by now, or about to be: both are right.
        gate held;
        function_job second([&] { held.pass(); });
        function_job third([&] { held.pass(); });
        CHECK(pool.submit(second) == 0);
        CHECK(pool.submit(third) == 0);
        held.wait_for(2);
        held.open();
        second.wait();
        third.wait();
    }
}

TEST_CASE("a job that waits for a thread can be withdrawn from any place in the queue") {
    for (std::size_t which = 0; which < 3; ++which) {
        blocking_pool pool(two_threads);
        gate held;
        function_job first([&] { held.pass(); });
        function_job second([&] { held.pass(); });
        CHECK(pool.submit(first) == 0);
        CHECK(pool.submit(second) == 0);
        held.wait_for(2);
        std::atomic<int> ran{0};
        std::vector<std::unique_ptr<function_job>> queued;
        for (int index = 0; index < 3; ++index) {
            queued.push_back(std::make_unique<function_job>([&] { ++ran; }));
            CHECK(pool.submit(*queued.back()) == 0);
        }

        CHECK(blocking_pool::withdraw(*queued[which]));
        CHECK(!blocking_pool::withdraw(*queued[which]));
        CHECK(!blocking_pool::withdraw(first));

        held.open();
        for (std::size_t index = 0; index < 3; ++index) {
            if (index != which) {
                queued[index]->wait();
            }
        }
        first.wait();
        second.wait();
        CHECK(ran == 2);
    }
}

TEST_CASE("threads that have nothing to do for a while end, and new ones take their places") {
    blocking_pool pool({.threads = 3, .idle = 1ms});
    for (int round = 0; round < 20; ++round) {
        gate held;
        std::vector<std::unique_ptr<function_job>> jobs;
        for (int index = 0; index < 3; ++index) {
            jobs.push_back(std::make_unique<function_job>([&] { held.pass(); }));
            CHECK(pool.submit(*jobs.back()) == 0);
        }
        held.wait_for(3); // All of them at once: three threads.
        held.open();
        for (const auto& each : jobs) {
            each->wait();
        }
        while (round % 2 == 0 && pool.threads() != 0) {
            std::this_thread::yield();
        }
    }
}

TEST_CASE("a pool that goes waits for the job that runs, and leaves those in the queue") {
    gate held;
    std::atomic<bool> queued_ran{false};
    function_job running([&] { held.pass(); });
    function_job queued([&] { queued_ran = true; });
    std::optional<blocking_pool> pool;
    pool.emplace(blocking_pool::limits{.threads = 1, .idle = 1h});
    CHECK(pool->submit(running) == 0);
    CHECK(pool->submit(queued) == 0);
    held.wait_for(1);

    std::thread opener([&] { held.open(); });
    pool.reset();
    CHECK(running.done());
    opener.join();
    // Whether it was taken before the end was seen is a race.
    CHECK(queued.done() == queued_ran);
}

TEST_CASE("a job for which no thread can be started is refused with EAGAIN") {
    const std::string said = test::in_child([]() -> std::string {
        test::refuse_calls({SYS_clone, SYS_clone3}, EAGAIN);
        blocking_pool pool(two_threads);
        function_job job([] {});
        const int error = pool.submit(job);
        return error == EAGAIN && !blocking_pool::withdraw(job) ? "refused" : "not refused";
    });
    CHECK(said == "refused");
}

TEST_CASE("a job waits for the threads that there are when no more can be started") {
    const std::string said = test::in_child([]() -> std::string {
        blocking_pool pool(two_threads);
        gate held;
        function_job first([&] { held.pass(); });
        function_job second([] {});
        if (pool.submit(first) != 0) {
            return "refused";
        }
        held.wait_for(1);
        test::refuse_calls({SYS_clone, SYS_clone3}, EAGAIN);
        if (pool.submit(second) != 0) {
            return "the second is refused";
        }
        held.open();
        second.wait();
        return pool.threads() == 1 ? "ran" : "another thread";
    });
    CHECK(said == "ran");
}

TEST_CASE("a child of fork has a pool of its own, although the parent's threads were busy") {
    if (!may_start_threads_after_fork) {
        test::skip("ThreadSanitizer allows no new threads after a fork with several");
        return;
    }
    gate held;
    blocking_pool& parents = blocking_pool::of_process();
    function_job running([&] { held.pass(); });
    CHECK(parents.submit(running) == 0);
    held.wait_for(1);
    std::vector<std::unique_ptr<function_job>> queued;
    for (int index = 0; index < 8; ++index) {
        queued.push_back(std::make_unique<function_job>([&] { held.pass(); }));
        CHECK(parents.submit(*queued.back()) == 0);
    }
    // Busy, but none at its start: AddressSanitizer has a lock there, which the child would inherit.
    held.wait_for(parents.threads());

    const std::string said = test::in_child([&]() -> std::string {
        blocking_pool& own = blocking_pool::of_process();
        if (&own == &parents || blocking_pool::withdraw(*queued.back())) {
            return "inherited";
        }
        bool ran = false;
        function_job job([&] { ran = true; });
        if (own.submit(job) != 0) {
            return "refused";
        }
        job.wait();
        return ran && &own == &blocking_pool::of_process() ? "ran" : "did not run";
    });

    CHECK(said == "ran");
    CHECK(&parents == &blocking_pool::of_process());
    held.open();
    running.wait();
    for (const auto& each : queued) {
        each->wait();
    }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("scheduler/blocking_pool/stress");

TEST_CASE("jobs of several threads, some withdrawn, each run once or not at all") {
    test::fuzz({.usually = 700ms}, [](test::trial& round) {
        blocking_pool pool(
            {.threads = 1 + round.below(4), .idle = std::chrono::milliseconds(round.below(3))}
        );
        struct counted {
            std::atomic<int> runs{0};
            bool withdrawn = false;
            std::optional<function_job> job;
        };
        std::vector<std::vector<counted>> all(3);
        std::vector<std::thread> submitters;
        for (auto& mine : all) {
            mine = std::vector<counted>(1 + round.below(200));
            submitters.emplace_back([&, seed = round.next()] {
                test::dice dice(seed);
                for (counted& each : mine) {
                    each.job.emplace([&each] { ++each.runs; });
                    round.expect(pool.submit(*each.job) == 0, "a job is refused");
                    if (dice.one_in(3)) {
                        each.withdrawn = blocking_pool::withdraw(*each.job);
                    }
                    if (dice.one_in(16)) {
                        std::this_thread::yield();
                    }
                }
            });
        }
        for (std::thread& each : submitters) {
            each.join();
        }
        for (auto& mine : all) {
            for (counted& each : mine) {
                if (!each.withdrawn) {
                    each.job->wait();
                }
                round.expect(
                    each.runs == (each.withdrawn ? 0 : 1), "a job runs not once, or withdrawn"
                );
            }
        }
    });
}

TEST_SUITE_END();

} // namespace
