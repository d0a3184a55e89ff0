#include <gyre/scheduler/timer.hpp>

#include <gyre/ring/engine.hpp>

#include <bit>
#include <cstdint>

namespace gyre::inline v0::detail {

timer_queue::timer_queue(engine_time now) noexcept
    : last_lane_(&lanes_[0]), elapsed_(static_cast<std::uint64_t>(now) >> tick_bits) {
    for (lane& each : lanes_) {
        each.timers.make_empty_list();
    }
    fresh_.make_empty_list();
    fresh_absolute_.make_empty_list();
    due_.make_empty_list();
    for (auto& level : wheel_) {
        for (timer_link& slot : level) {
            slot.make_empty_list();
        }
    }
}

// The lane of this duration, or an empty one that becomes its lane, or nullptr.
timer_queue::lane* timer_queue::lane_for(engine_time duration) noexcept {
    lane* empty = nullptr;
    for (unsigned index = 0; index < lanes_used_; ++index) {
        lane& each = lanes_[index];
        if (each.duration == duration) {
            return &each;
        }
        if (empty == nullptr && each.timers.is_empty_list()) {
            empty = &each;
        }
    }
    if (empty == nullptr && lanes_used_ < lanes_max) {
        empty = &lanes_[lanes_used_++];
    }
    if (empty != nullptr) {
        empty->duration = duration;
    }
    return empty;
}

// The lane whose first timer is due first. A lane that begins with a timer without a deadline holds
// no other.
timer_queue::lane* timer_queue::earliest_lane() noexcept {
    lane* earliest = nullptr;
    engine_time time = never;
    for (unsigned index = 0; index < lanes_used_; ++index) {
        lane& each = lanes_[index];
        if (each.timers.is_empty_list()) {
            continue;
        }
        const engine_time first = timer_of(*each.timers.next).time_;
        if (first != 0 && first <= time) {
            earliest = &each;
            time = first;
        }
    }
    return earliest;
}

void timer_queue::absorb(engine_time now) noexcept {
    has_fresh_ = false;
    for (unsigned index = 0; index < lanes_used_; ++index) {
        lane& each = lanes_[index];
        // Those without a deadline are the last ones in the list.
        timer_link* link = each.timers.previous;
        if (link == &each.timers || timer_of(*link).time_ != 0) {
            continue;
        }
        const engine_time wait = each.duration > 0 ? each.duration : 0;
        const engine_time deadline = wait < never - now ? now + wait : never;
        earliest_ = deadline < earliest_ ? deadline : earliest_;
        do {
            timer_of(*link).time_ = deadline;
            link = link->previous;
        } while (link != &each.timers && timer_of(*link).time_ == 0);
    }
    while (!fresh_.is_empty_list()) {
        timer& which = timer_of(*fresh_.next);
        which.unlink();
        which.time_ = which.time_ < never - now ? now + which.time_ : never;
        insert(which);
    }
    while (!fresh_absolute_.is_empty_list()) {
        timer& which = timer_of(*fresh_absolute_.next);
        which.unlink();
        insert(which);
    }
}

// The level is that of the highest digit (in base 64) in which the timer's tick differs from the
// current one, so everything on a level fires before anything on the next.
void timer_queue::insert(timer& which) noexcept {
    const engine_time time = which.time_ > 0 ? which.time_ : 0;
    const std::uint64_t tick =
        (static_cast<std::uint64_t>(time) + (1U << tick_bits) - 1) >> tick_bits;
    if (tick <= elapsed_) {
        which.insert_before(due_);
        earliest_ = 0;
        return;
    }
    if (tick <= static_cast<std::uint64_t>(earliest_) >> tick_bits) {
        earliest_ = static_cast<engine_time>(tick << tick_bits);
    }
    const unsigned top_bit = 63U - static_cast<unsigned>(std::countl_zero(tick ^ elapsed_));
    const unsigned level = top_bit / slot_bits;
    const unsigned slot = static_cast<unsigned>(tick >> (level * slot_bits)) & (slots - 1);
    which.insert_before(wheel_[level][slot]);
    slots_used_[level] |= 1ULL << slot;
    levels_used_ |= 1U << level;
}

// Disarming leaves the marks of used slots behind; they are cleared here, when come across.
timer_queue::place timer_queue::first_used() noexcept {
    while (levels_used_ != 0) {
        const unsigned level = static_cast<unsigned>(std::countr_zero(levels_used_));
        while (slots_used_[level] != 0) {
            // All used slots of a level lie after the current digit.
            const unsigned slot = static_cast<unsigned>(std::countr_zero(slots_used_[level]));
            if (!wheel_[level][slot].is_empty_list()) {
                const unsigned shift = level * slot_bits;
                const std::uint64_t above = (elapsed_ >> shift) & ~std::uint64_t{slots - 1};
                return {level, slot, (above | slot) << shift};
            }
            slots_used_[level] &= ~(1ULL << slot);
        }
        levels_used_ &= ~(1U << level);
    }
    return {};
}

engine_time timer_queue::wheel_next() noexcept {
    if (!due_.is_empty_list()) {
        return 0;
    }
    const place first = first_used();
    // The last tick of all begins after the largest time.
    if (first.level == levels || first.tick > static_cast<std::uint64_t>(never) >> tick_bits) {
        return never;
    }
    return static_cast<engine_time>(first.tick << tick_bits);
}

engine_time timer_queue::next() noexcept {
    const lane* first = earliest_lane();
    const engine_time in_wheel = wheel_next();
    if (first == nullptr) {
        return in_wheel;
    }
    const engine_time in_lane = timer_of(*first->timers.next).time_;
    return in_lane < in_wheel ? in_lane : in_wheel;
}

std::uint32_t timer_queue::fire_first(timer_link& list) noexcept {
    timer& which = timer_of(*list.next);
    which.unlink();
    which.fire_(which);
    return 1;
}

// Fires one timer that is due, or opens the first used slot, whose tick has come.
std::uint32_t timer_queue::advance_wheel() noexcept {
    if (!due_.is_empty_list()) {
        return fire_first(due_);
    }
    const place first = first_used();
    elapsed_ = first.tick;
    timer_link& slot = wheel_[first.level][first.slot];
    while (!slot.is_empty_list()) {
        timer& which = timer_of(*slot.next);
        which.unlink();
        insert(which); // Due now, or to a lower level.
    }
    return 0;
}

std::uint32_t timer_queue::expire(engine_time now) noexcept {
    std::uint32_t fired = 0;
    for (;;) {
        // What fires may arm and disarm, so everything is looked at anew. A timer armed by it has
        // no deadline yet and ends its lane's part of this round.
        lane* first = earliest_lane();
        engine_time in_lane = never;
        if (first != nullptr) {
            in_lane = timer_of(*first->timers.next).time_;
        }
        const engine_time in_wheel = wheel_next();
        if (in_wheel <= now && in_wheel <= in_lane) {
            fired += advance_wheel();
        } else if (in_lane <= now) {
            fired += fire_first(first->timers);
        } else {
            break;
        }
    }
    // Only now: until then the slots were found from where the wheel stood.
    const std::uint64_t target = static_cast<std::uint64_t>(now) >> tick_bits;
    if (target > elapsed_) {
        elapsed_ = target;
    }
    earliest_ = next();
    return fired;
}

} // namespace gyre::inline v0::detail
