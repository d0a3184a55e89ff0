// Posts, and handles that come and go on other threads, while a scheduler sleeps, wakes and ends.

#include <gyre/ring/engine.hpp>
#include <gyre/ring/features.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/scheduler.hpp>

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>

using namespace std::chrono_literals;
using test::dice;
using test::trial;

namespace {

// Wherever a wake can be lost nothing else wakes the loop: it would sleep for ever, and the limit
// of the round ends the program with its seed.
constexpr test::fuzz_options limits{.usually = 900ms};

gyre::scheduler_options options_for(trial& round, gyre::engine_kind engine) {
    gyre::scheduler_options options;
    options.engine = engine;
    options.submission_entries = 2U << round.below(4);
    if (round.one_in(3)) {
        options.disable.insert(gyre::feature::message_wake);
    }
    if (round.one_in(4)) {
        options.disable.insert(gyre::feature::defer_taskrun);
    }
    if (round.one_in(8)) {
        options.disable = gyre::feature_set::all();
    }
    return options;
}

void spin(std::uint64_t turns) {
    while (turns-- != 0) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
}

// Between nothing and some microseconds: around the length of what it races with.
void dawdle(dice& mine) {
    switch (mine.below(4)) {
    case 0:
        std::this_thread::yield();
        break;
    case 1:
        std::this_thread::sleep_for(std::chrono::microseconds(mine.below(200)));
        break;
    default:
        spin(mine.below(1U << mine.below(14)));
    }
}

// A function's own fate: it ends exactly once, run or not.
class fate {
public:
    std::atomic<int> runs{0};
    std::atomic<int> ends{0};
    bool accepted = false;  // Written by its poster alone.
    bool in_a_loop = false; // Written as it runs.
};

class posted_function {
public:
    explicit posted_function(fate& of) noexcept : fate_(&of) {}
    posted_function(posted_function&& other) noexcept
        : fate_(std::exchange(other.fate_, nullptr)) {}
    posted_function& operator=(posted_function&&) = delete;
    ~posted_function() {
        if (fate_ != nullptr) {
            ++fate_->ends;
        }
    }
    void operator()() {
        ++fate_->runs;
        fate_->in_a_loop = gyre::detail::run_loop::current() != nullptr;
    }

private:
    fate* fate_;
};

struct poster {
    poster(std::uint64_t seed, gyre::scheduler_handle to) : mine(seed), handle(std::move(to)) {}

    void post_one(const gyre::scheduler_handle& to) {
        fates.push_back(std::make_unique<fate>());
        fate& of = *fates.back();
        of.accepted = to.post(posted_function(of)).has_value();
    }

    dice mine;
    gyre::scheduler_handle handle;
    std::vector<std::unique_ptr<fate>> fates;
    std::thread thread;
};

// Every post of a poster that outlives the scheduler.
void judge(trial& round, const poster& each, bool all_ran) {
    bool refused = false;
    for (const auto& one : each.fates) {
        round.expect(one->ends == 1, "a posted function ends not once");
        round.expect(one->runs <= 1, "a posted function runs twice");
        round.expect(one->accepted || one->runs == 0, "a refused function runs");
        round.expect(
            one->runs == 0 || one->in_a_loop, "a function runs although its scheduler has ended"
        );
        round.expect(!all_ran || (one->accepted && one->runs == 1), "a posted function is lost");
        round.expect(!refused || !one->accepted, "a scheduler that has ended takes a post");
        refused = refused || !one->accepted;
    }
}

// Posters that run into the end of the scheduler.
void race_with_the_end(trial& round, gyre::engine_kind engine) {
    std::vector<std::unique_ptr<poster>> posters;
    std::optional<poster> last_words;
    std::atomic<bool> over{false};
    gyre::run(options_for(round, engine), [&]() -> gyre::task<> {
        for (std::uint64_t count = 1 + round.below(3); count != 0; --count) {
            posters.push_back(
                std::make_unique<poster>(round.next(), gyre::scheduler::current().handle())
            );
        }
        for (const auto& each : posters) {
            each->thread = std::thread([&over, self = each.get()] {
                for (int posts = 0; posts < 2'000; ++posts) {
                    std::optional<gyre::scheduler_handle> copy;
                    if (self->mine.one_in(2)) {
                        copy.emplace(self->handle);
                    }
                    self->post_one(copy ? *copy : self->handle);
                    if (!self->fates.back()->accepted && self->mine.one_in(4)) {
                        break;
                    }
                    if (over && self->mine.one_in(8)) {
                        break;
                    }
                    dawdle(self->mine);
                }
            });
        }
        const auto slept = co_await gyre::sleep_for(std::chrono::nanoseconds(round.any_size(20)));
        static_cast<void>(slept);
        // Some are always there when it ends.
        last_words.emplace(round.next(), gyre::scheduler::current().handle());
        for (std::uint64_t posts = round.below(4); posts != 0; --posts) {
            last_words->post_one(last_words->handle);
        }
    });
    over = true;
    judge(round, *last_words, false);
    for (const auto& each : posters) {
        each->thread.join();
        judge(round, *each, false);
    }
}

// A thread with a scheduler that sleeps until it is posted to, and never on a timer.
class sleeper {
public:
    explicit sleeper(const gyre::scheduler_options& options, bool driven_by_poll)
        : thread_([this, options, driven_by_poll] {
              if (driven_by_poll) {
                  drive(options);
              } else {
                  gyre::run(options, [this] { return sleep(); });
              }
          }) {
        ready_.wait(false);
    }
    ~sleeper() {
        const auto posted = handle_->post([this] { end(); });
        CHECK(posted);
        thread_.join();
    }
    sleeper(const sleeper&) = delete;
    sleeper& operator=(const sleeper&) = delete;

    const gyre::scheduler_handle& handle() const { return *handle_; }

private:
    gyre::task<> sleep() {
        handle_.emplace(gyre::scheduler::current().handle());
        auto pair = gyre::stream::pair();
        gate_ = &pair.first;
        tell_ready();
        std::array<std::byte, 1> buffer;
        const auto received = co_await pair.second.recv(buffer);
        CHECK(received);
        ended_ = true;
    }
    // A foreign loop: it sleeps in poll(2).
    void drive(const gyre::scheduler_options& options) {
        gyre::scheduler driven(options);
        const auto posted =
            driven.handle().post([this] { gyre::spawn([this] { return sleep(); }); });
        CHECK(posted);
        for (;;) {
            const auto next = driven.turn();
            if (ended_) {
                break;
            }
            if (next == gyre::clock::time_point::max()) {
                pollfd entry = {driven.pollable_descriptor(), POLLIN, 0};
                ::poll(&entry, 1, -1);
            }
        }
    }
    void end() {
        const auto closed = gate_->shutdown(gyre::shutdown_side::send);
        CHECK(closed);
    }
    void tell_ready() {
        ready_ = true;
        ready_.notify_all();
    }

    std::atomic<bool> ready_{false};
    std::optional<gyre::scheduler_handle> handle_;
    gyre::stream* gate_ = nullptr;
    bool ended_ = false;
    std::thread thread_;
};

// Waits until `answers` is no more `known`. Awake for a while: who sleeps comes too late to meet the
// loop on its way to sleep.
void wait_for(const std::atomic<std::uint64_t>& answers, std::uint64_t known) {
    for (int looks = 0; looks < 20'000; ++looks) {
        if (answers != known) {
            return;
        }
    }
    answers.wait(known);
}

// One question after the other, each asked as the loop falls asleep after the one before: whoever
// waits for an answer shows that the wake came.
void ask(dice mine, const gyre::scheduler_handle& to, std::atomic<std::uint64_t>& failures) {
    const auto answers = std::make_shared<std::atomic<std::uint64_t>>(0); // Notified to the last.
    const std::uint64_t questions = 20 + mine.below(200);
    for (std::uint64_t asked = 0; asked < questions; ++asked) {
        // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): copies are part of the test.
        const gyre::scheduler_handle copy(to);
        const auto posted = copy.post([answers] {
            ++*answers;
            answers->notify_all();
        });
        failures += posted ? 0U : 1U;
        wait_for(*answers, asked);
        if (mine.one_in(8)) {
            dawdle(mine);
        } else {
            spin(mine.below(1U << mine.below(11)));
        }
    }
}

void ask_a_sleeper(trial& round, gyre::engine_kind engine) {
    std::atomic<std::uint64_t> failures{0};
    {
        const sleeper asleep(options_for(round, engine), round.one_in(3));
        std::vector<std::thread> askers;
        for (std::uint64_t count = round.below(3); count != 0; --count) {
            askers.emplace_back([&, mine = dice(round.next())] {
                ask(mine, asleep.handle(), failures);
            });
        }
        ask(dice(round.next()), asleep.handle(), failures);
        for (std::thread& each : askers) {
            each.join();
        }
    }
    round.expect(failures == 0, "a running scheduler refuses a post");
}

// Many posts from several threads at once, some of which wait for the loop to sleep again.
void flood_a_sleeper(trial& round, gyre::engine_kind engine) {
    std::vector<std::unique_ptr<poster>> posters;
    {
        const sleeper asleep(options_for(round, engine), round.one_in(3));
        for (std::uint64_t count = 1 + round.below(3); count != 0; --count) {
            posters.push_back(std::make_unique<poster>(round.next(), asleep.handle()));
            posters.back()->thread = std::thread([self = posters.back().get()] {
                for (std::uint64_t posts = self->mine.below(1'000); posts != 0; --posts) {
                    const gyre::scheduler_handle copy(self->handle);
                    self->post_one(copy);
                    if (self->mine.one_in(16)) {
                        dawdle(self->mine);
                    }
                }
            });
        }
        for (const auto& each : posters) {
            each->thread.join();
        }
    } // Its end is posted behind all of them.
    for (const auto& each : posters) {
        judge(round, *each, true);
    }
}

} // namespace

TEST_SUITE_BEGIN("scheduler/stress");

TEST_CASE(
    "posts that race with the end of a scheduler run once, or are refused and go unrun" *
    doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, race_with_the_end);
}

TEST_CASE(
    "a post wakes a loop whenever it falls asleep, in run and in a foreign loop" *
    doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, ask_a_sleeper);
}

TEST_CASE(
    "a flood of posts runs to the last one before the scheduler ends" * doctest::timeout(300)
) {
    test::fuzz_every_engine(limits, flood_a_sleeper);
}

TEST_SUITE_END();
