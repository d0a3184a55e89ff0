#pragma once

#include <gyre/ring/engine.hpp>

#include <cstdint>

namespace gyre::inline v0::detail {

/// A link of a circular list. Unlinked while `next` is null.
struct timer_link {
    timer_link* previous; // Nothing while unlinked.
    timer_link* next = nullptr;

    void make_empty_list() noexcept { previous = next = this; }
    bool is_empty_list() const noexcept { return next == this; }
    void insert_before(timer_link& place) noexcept {
        timer_link* before = place.previous;
        next = &place;
        before->next = this;
        previous = before;
        place.previous = this;
    }
    void unlink() noexcept {
        previous->next = next;
        next->previous = previous;
        next = nullptr;
    }
};

/// Calls back once, at or after its deadline, unless disarmed. Lives where its user lives; arming
/// and disarming are O(1) and allocate nothing.
class timer : private timer_link {
public:
    using fire_function = void(timer&) noexcept;

    explicit timer(fire_function* fire) noexcept : fire_(fire) {}
    ~timer() { disarm(); }
    timer(const timer&) = delete;
    timer& operator=(const timer&) = delete;

    bool armed() const noexcept { return next != nullptr; }
    void disarm() noexcept {
        if (armed()) {
            unlink();
        }
    }

private:
    friend class timer_queue;
    fire_function* fire_;
    engine_time time_; // The deadline; 0 in a lane until the queue has seen the clock.
};

/// All timers of a loop.
///
/// Most timeouts of a program share a few durations. Each of those has a *lane*: a list in the
/// order of arming, which is the order of deadlines, so that arming is an append and only the first
/// of each lane is ever looked at. Other durations, and points in time, go to a hierarchical timing
/// wheel of eight levels with 64 slots each, whose tick is 2^18 ns, about a quarter of a
/// millisecond; there a timer fires in the tick after its deadline.
///
/// Arming reads no clock. A timer armed during a turn gets its deadline in `absorb`, once a turn,
/// from one reading that is not before its arming: it never fires early, and one that is disarmed
/// within its turn costs two list operations.
class timer_queue {
public:
    explicit timer_queue(engine_time now) noexcept;
    timer_queue(const timer_queue&) = delete;
    timer_queue& operator=(const timer_queue&) = delete;

    void arm_after(timer& which, engine_time duration) noexcept {
        lane* taken = last_lane_;
        if (taken->duration != duration) [[unlikely]] {
            taken = lane_for(duration);
            if (taken == nullptr) {
                which.time_ = duration;
                which.insert_before(fresh_);
                has_fresh_ = true;
                return;
            }
            last_lane_ = taken;
        }
        which.time_ = 0;
        which.insert_before(taken->timers);
        has_fresh_ = true;
    }
    void arm_at(timer& which, engine_time deadline) noexcept {
        which.time_ = deadline;
        which.insert_before(fresh_absolute_);
        has_fresh_ = true;
    }

    /// True while `absorb` has something to do.
    bool has_fresh() const noexcept { return has_fresh_; }
    void absorb(engine_time now) noexcept;

    /// When `expire` should be called next: not after the earliest deadline's tick; `never` without
    /// timers. Looks at all lanes and levels. To be asked after `absorb`.
    engine_time next() noexcept;

    /// The same without looking: what `next` was after the last `expire`, or the deadline of what
    /// was armed since. Disarming leaves it as it is, so `expire` may find nothing to do.
    engine_time earliest() const noexcept { return earliest_; }

    /// Fires every timer whose deadline is not after `now`, in the order of deadlines as far as the
    /// wheel knows it. Returns how many.
    std::uint32_t expire(engine_time now) noexcept;

private:
    static constexpr unsigned tick_bits = 18;
    static constexpr unsigned slot_bits = 6;
    static constexpr unsigned slots = 1U << slot_bits;
    static constexpr unsigned levels = 8;
    static constexpr unsigned lanes_max = 8;

    struct lane {
        engine_time duration = -1;
        timer_link timers;
    };
    struct place {
        unsigned level = levels;
        unsigned slot = 0;
        std::uint64_t tick = 0; // The first tick of the slot.
    };

    static timer& timer_of(timer_link& link) noexcept { return static_cast<timer&>(link); }
    lane* lane_for(engine_time duration) noexcept;
    lane* earliest_lane() noexcept;
    void insert(timer& which) noexcept;
    place first_used() noexcept;
    engine_time wheel_next() noexcept;
    std::uint32_t advance_wheel() noexcept;
    std::uint32_t fire_first(timer_link& list) noexcept;

    lane* last_lane_;
    unsigned lanes_used_ = 1; // Those behind were never needed.
    bool has_fresh_ = false;
    engine_time earliest_ = never;
    std::uint32_t levels_used_ = 0;
    std::uint64_t elapsed_; // All ticks of the wheel up to and including this one are done.
    lane lanes_[lanes_max];
    std::uint64_t slots_used_[levels] = {};
    timer_link fresh_;
    timer_link fresh_absolute_;
    timer_link due_;
    timer_link wheel_[levels][slots];
};

} // namespace gyre::inline v0::detail
