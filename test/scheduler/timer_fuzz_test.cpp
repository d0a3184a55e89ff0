// The timer queue beside a sorted list.

#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/timer.hpp>

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

using gyre::detail::engine_time;
using gyre::detail::never;
using gyre::detail::timer_queue;
using test::trial;

namespace {

constexpr engine_time tick = 1 << 18;
// Those that are due as they are armed fire in any order.
constexpr std::int64_t unordered = -1;

// The number of the tick in which the wheel may fire at the latest.
std::int64_t tick_of(engine_time deadline) {
    const engine_time time = std::max<engine_time>(deadline, 0);
    return time / tick + (time % tick != 0 ? 1 : 0);
}

class model {
public:
    // No clock of an engine stands at 0.
    explicit model(trial& round) : round_(round), now_(1 + round.any_size(50)), queue_(now_) {
        const std::uint64_t lanes = 1 + round.below(12); // The queue has eight.
        for (std::uint64_t index = 0; index < lanes; ++index) {
            durations_.push_back(round.any_size(round.one_in(4) ? 62 : 36));
        }
        const std::uint64_t count = 1 + round.below(200);
        for (std::uint64_t index = 0; index < count; ++index) {
            timers_.push_back(std::make_unique<modelled>(*this));
        }
    }

    void run() {
        for (std::uint64_t turns = 50 + round_.below(200); turns != 0; --turns) {
            for (std::uint64_t actions = round_.below(12); actions != 0; --actions) {
                arm_or_disarm(*timers_[round_.below(timers_.size())]);
            }
            turn();
            if (round_.failed()) {
                return;
            }
        }
        while (!deadlines_.empty() && deadlines_.begin()->first < never / 2) {
            last_words_ = true;
            turn();
            if (round_.failed()) {
                return;
            }
        }
    }
    std::uint64_t fired = 0;

private:
    struct modelled : gyre::detail::timer {
        explicit modelled(model& of) noexcept
            : timer([](timer& base) noexcept {
                  auto& self = static_cast<modelled&>(base);
                  self.owner.fires(self);
              }),
              owner(of) {}
        model& owner;
        engine_time time = 0; // As it was armed.
        bool relative = false;
        bool fresh = false;
        bool waits = false;         // Has a deadline.
        std::int64_t last_tick = 0; // When the wheel may fire it at the latest.
        std::multimap<engine_time, modelled*>::iterator place;
    };

    void arm_or_disarm(modelled& which) {
        if (which.armed()) {
            if (which.waits) {
                deadlines_.erase(which.place);
            }
            std::erase(fresh_, &which);
            which.waits = which.fresh = false;
            which.disarm();
            if (round_.one_in(2)) {
                return;
            }
        }
        which.relative = round_.below(4) != 0;
        which.fresh = true;
        fresh_.push_back(&which);
        if (which.relative) {
            which.time = round_.below(4) != 0 ? durations_[round_.below(durations_.size())]
                                              : round_.any_size(62) - round_.any_size(20);
            queue_.arm_after(which, which.time);
        } else {
            which.time = now_ + round_.any_size(50) - round_.any_size(40);
            queue_.arm_at(which, which.time);
        }
        round_.expect(queue_.has_fresh(), "what was armed is not seen");
    }

    void fires(modelled& which) {
        ++fired;
        round_.expect(which.waits, "a timer fires that has no deadline");
        if (!which.waits) {
            return;
        }
        const engine_time deadline = which.place->first;
        round_.expect(deadline <= now_, "a timer fires early");
        if (which.last_tick != unordered) {
            round_.expect(which.last_tick >= fired_tick_, "a timer fires after a later one");
            fired_tick_ = which.last_tick;
        }
        deadlines_.erase(which.place);
        which.waits = false;
        round_.expect(!which.armed(), "a timer that fires is armed");
        if (!last_words_ && round_.one_in(4)) {
            arm_or_disarm(round_.one_in(2) ? which : *timers_[round_.below(timers_.size())]);
        }
    }

    void absorb() {
        queue_.absorb(now_);
        for (modelled* each : fresh_) {
            engine_time deadline = each->time;
            if (each->relative) {
                const engine_time wait = std::max<engine_time>(each->time, 0);
                deadline = wait < never - now_ ? now_ + wait : never;
            }
            each->fresh = false;
            each->waits = true;
            each->last_tick = deadline <= now_ ? unordered : tick_of(deadline);
            each->place = deadlines_.emplace(deadline, each);
        }
        fresh_.clear();
        round_.expect(!queue_.has_fresh(), "what was absorbed is still fresh");
    }

    // Not after the tick of the first deadline: else a loop sleeps through it.
    void judge_wait() {
        const engine_time earliest = queue_.earliest();
        const engine_time next = queue_.next();
        if (deadlines_.empty()) {
            round_.expect(next == never, "an empty queue wants to be called");
            return;
        }
        const engine_time deadline = std::max<engine_time>(deadlines_.begin()->first, 0);
        const engine_time latest =
            deadline < never - tick ? std::max<engine_time>(tick_of(deadline) * tick, now_) : never;
        round_.expect(earliest <= latest, "earliest() lies after the first deadline's tick");
        round_.expect(next <= latest, "next() lies after the first deadline's tick");
    }

    void turn() {
        if (queue_.has_fresh()) {
            absorb();
        }
        judge_wait();

        // Time passes: as asked for, less, or more.
        const engine_time asked = queue_.earliest();
        engine_time to = now_;
        if (last_words_ || round_.one_in(2)) {
            to = asked;
        } else if (round_.one_in(2)) {
            to = now_ + round_.any_size(round_.one_in(8) ? 53 : 32);
        }
        now_ = to < never / 2 ? std::max(now_, to) : now_;
        if (!last_words_ && round_.one_in(4)) { // A completion's task, between absorb and expire.
            arm_or_disarm(*timers_[round_.below(timers_.size())]);
        }
        if (queue_.earliest() > now_ && round_.below(4) != 0) {
            return; // As the loop does: nothing can be due.
        }

        fired_tick_ = -1;
        const std::uint64_t before = fired;
        const std::uint32_t said = queue_.expire(now_);

        round_.expect(said == fired - before, "the count of what fired is wrong");
        round_.expect(
            deadlines_.empty() || deadlines_.begin()->first > never - tick ||
                tick_of(deadlines_.begin()->first) * tick > now_,
            "something that was due is left"
        );
        round_.expect(queue_.earliest() > now_, "the queue asks for a call that finds nothing");
        round_.expect(queue_.earliest() == queue_.next(), "earliest() is not next() after expire");
    }

    trial& round_;
    engine_time now_;
    timer_queue queue_;
    std::int64_t fired_tick_ = -1;
    bool last_words_ = false;
    std::vector<engine_time> durations_;
    std::vector<modelled*> fresh_;
    std::multimap<engine_time, modelled*> deadlines_;
    std::vector<std::unique_ptr<modelled>> timers_;
};

} // namespace

TEST_SUITE_BEGIN("scheduler/fuzz");

TEST_CASE(
    "random timers fire when a sorted list says, and earliest() never oversleeps" *
    doctest::timeout(300)
) {
    std::uint64_t fired = 0;
    const auto rounds = test::fuzz({}, [&](trial& round) {
        model one(round);
        one.run();
        fired += one.fired;
    });
    INFO("rounds: ", rounds);
    CHECK((rounds < 100 || fired > rounds * 10));
}

TEST_SUITE_END();
