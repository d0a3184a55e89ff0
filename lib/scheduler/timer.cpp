#include <gyre/scheduler/timer.hpp>

#include <bit>

namespace gyre::inline v0::detail {

timer_wheel::timer_wheel(engine_time now) noexcept
    : elapsed_(static_cast<std::uint64_t>(now) >> tick_bits) {
    fresh_.make_empty_list();
    fresh_absolute_.make_empty_list();
    due_.make_empty_list();
    for (auto& level : wheel_) {
        for (timer_link& slot : level) {
            slot.make_empty_list();
        }
    }
}

void timer_wheel::absorb(engine_time now) noexcept {
    while (!fresh_.is_empty_list()) {
        timer& which = static_cast<timer&>(*fresh_.next);
        which.unlink();
        which.time_ = which.time_ < never - now ? now + which.time_ : never;
        insert(which);
    }
    while (!fresh_absolute_.is_empty_list()) {
        timer& which = static_cast<timer&>(*fresh_absolute_.next);
        which.unlink();
        insert(which);
    }
}

// The level is that of the highest digit (in base 64) in which the timer's tick differs from the
// current one, so everything on a level fires before anything on the next.
void timer_wheel::insert(timer& which) noexcept {
    const engine_time time = which.time_ > 0 ? which.time_ : 0;
    const std::uint64_t tick =
        (static_cast<std::uint64_t>(time) + (1U << tick_bits) - 1) >> tick_bits;
    if (tick <= elapsed_) {
        which.insert_before(due_);
        return;
    }
    const unsigned top_bit = 63U - static_cast<unsigned>(std::countl_zero(tick ^ elapsed_));
    const unsigned level = top_bit / slot_bits;
    const unsigned slot = static_cast<unsigned>(tick >> (level * slot_bits)) & (slots - 1);
    which.insert_before(wheel_[level][slot]);
    slots_used_[level] |= 1ULL << slot;
    levels_used_ |= 1U << level;
}

// Disarming leaves the marks of used slots behind; they are cleared here, when come across.
timer_wheel::place timer_wheel::first_used() noexcept {
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

engine_time timer_wheel::next() noexcept {
    if (!due_.is_empty_list()) {
        return 0;
    }
    const place first = first_used();
    return first.level == levels ? never : static_cast<engine_time>(first.tick << tick_bits);
}

std::uint32_t timer_wheel::expire(engine_time now) noexcept {
    std::uint32_t fired = 0;
    const std::uint64_t target = static_cast<std::uint64_t>(now) >> tick_bits;
    for (;;) {
        while (!due_.is_empty_list()) {
            timer& which = static_cast<timer&>(*due_.next);
            which.unlink();
            ++fired;
            which.fire_(which);
        }
        const place first = first_used();
        if (first.level == levels || first.tick > target) {
            break;
        }
        // Its own tick has come: what is due then fires, the rest moves to lower levels.
        elapsed_ = first.tick;
        timer_link& slot = wheel_[first.level][first.slot];
        while (!slot.is_empty_list()) {
            timer& which = static_cast<timer&>(*slot.next);
            which.unlink();
            insert(which);
        }
    }
    if (target > elapsed_) {
        elapsed_ = target;
    }
    return fired;
}

} // namespace gyre::inline v0::detail
