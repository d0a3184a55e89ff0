#pragma once

#include <gyre/ring/engine.hpp>

#include <cstdint>

namespace gyre::inline v0::detail {

/// A link of a circular list. Unlinked while `next` is null.
struct timer_link {
    timer_link* previous = nullptr;
    timer_link* next = nullptr;

    void make_empty_list() noexcept { previous = next = this; }
    bool is_empty_list() const noexcept { return next == this; }
    void insert_before(timer_link& place) noexcept {
        previous = place.previous;
        next = &place;
        previous->next = this;
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
    friend class timer_wheel;
    fire_function* fire_;
    engine_time time_ = 0; // A duration until the wheel has seen the clock, then the deadline.
};

/// A hierarchical timing wheel of eight levels with 64 slots each. A tick is 2^18 ns, about a
/// quarter of a millisecond: a timer fires in the tick after its deadline, so never early.
///
/// Arming reads no clock. A timer armed during a turn waits in a list of its own until `absorb`,
/// once a turn, starts all of them at one reading that is not before their arming; most timeouts
/// around operations that end at once never reach the wheel.
class timer_wheel {
public:
    explicit timer_wheel(engine_time now) noexcept;
    timer_wheel(const timer_wheel&) = delete;
    timer_wheel& operator=(const timer_wheel&) = delete;

    void arm_after(timer& which, engine_time duration) noexcept {
        which.time_ = duration;
        which.insert_before(fresh_);
    }
    void arm_at(timer& which, engine_time deadline) noexcept {
        which.time_ = deadline;
        which.insert_before(fresh_absolute_);
    }

    /// True while `absorb` has something to do.
    bool has_fresh() const noexcept {
        return !fresh_.is_empty_list() || !fresh_absolute_.is_empty_list();
    }
    void absorb(engine_time now) noexcept;

    /// True if the wheel may hold a timer.
    bool may_expire() const noexcept { return levels_used_ != 0 || !due_.is_empty_list(); }

    /// When `expire` should be called next: not after the earliest deadline's tick; `never` without
    /// timers.
    engine_time next() noexcept;

    /// Fires every timer whose deadline is not after `now`. Returns how many.
    std::uint32_t expire(engine_time now) noexcept;

private:
    static constexpr unsigned tick_bits = 18;
    static constexpr unsigned slot_bits = 6;
    static constexpr unsigned slots = 1U << slot_bits;
    static constexpr unsigned levels = 8;

    struct place {
        unsigned level = levels;
        unsigned slot = 0;
        std::uint64_t tick = 0; // The first tick of the slot.
    };

    void insert(timer& which) noexcept;
    place first_used() noexcept;

    std::uint64_t elapsed_; // All ticks up to and including this one are done.
    std::uint32_t levels_used_ = 0;
    std::uint64_t slots_used_[levels] = {};
    timer_link fresh_;
    timer_link fresh_absolute_;
    timer_link due_;
    timer_link wheel_[levels][slots];
};

} // namespace gyre::inline v0::detail
