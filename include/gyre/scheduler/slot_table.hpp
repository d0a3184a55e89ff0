#pragma once

#include <cstddef>
#include <cstdint>

namespace gyre::inline v0::detail {

class operation;

/// Names one operation for its whole life, and never another one: a slot index and a generation.
/// It is the `user_data` of the submission. 0 names none.
using operation_id = std::uint64_t;

enum class cancel_state : std::uint8_t {
    none,
    queued, ///< Waits for a submission entry; its slot is in the queue of cancels.
    sent,
    missed, ///< Answered ENOENT while the target is in flight; its slot waits to try again.
};

/// Its size is a power of two, so that finding one is a shift.
struct alignas(32) slot {
    operation* target = nullptr; // nullptr: free, or ended while in a list of cancels.
    operation_id id = 0;         // Of this operation, else of the next: index and generation.
    slot* next_free = nullptr;
    std::uint32_t link = 0; // The next slot of a list of cancels.
    cancel_state cancel = cancel_state::none;
};

/// The operations in flight. A completion names its slot and generation, so neither a late
/// completion nor a late cancel can touch freed memory or hit a successor.
class slot_table {
public:
    static constexpr std::uint32_t none = (1U << 28) - 1; // Above are tags in user_data.

    slot_table() noexcept = default;
    ~slot_table();
    slot_table(const slot_table&) = delete;
    slot_table& operator=(const slot_table&) = delete;

    slot& take(operation& target) noexcept {
        if (free_ == nullptr) [[unlikely]] {
            grow();
        }
        slot& taken = *free_;
        free_ = taken.next_free;
        taken.target = &target;
        return taken;
    }

    /// Ends the slot's operation. A slot that a list of cancels still links is freed by that list.
    void release(slot& ended) noexcept {
        ended.target = nullptr;
        ended.id += next_generation;
        if (ended.cancel == cancel_state::none) [[likely]] {
            ended.next_free = free_;
            free_ = &ended;
        } else if (ended.cancel == cancel_state::sent) {
            free(ended);
        }
    }
    void free(slot& ended) noexcept {
        ended.cancel = cancel_state::none;
        ended.next_free = free_;
        free_ = &ended;
    }

    slot& operator[](std::uint32_t index) noexcept { return slots_[index]; }
    operation_id id(std::uint32_t index) const noexcept { return slots_[index].id; }
    /// The slot that `id` names if its operation is still in flight, else nullptr.
    slot* find(operation_id id) noexcept {
        const std::uint32_t index = static_cast<std::uint32_t>(id) & none;
        if (index >= size_) {
            return nullptr;
        }
        slot& named = slots_[index];
        return named.id == id && named.target != nullptr ? &named : nullptr;
    }

    /// How many operations are in flight; counts them.
    std::uint32_t used() const noexcept;
    std::uint32_t size() const noexcept { return size_; }

private:
    static constexpr operation_id next_generation = operation_id{1} << 32;

    void grow() noexcept;

    slot* slots_ = nullptr;
    slot* free_ = nullptr;
    std::uint32_t size_ = 0;
};

} // namespace gyre::inline v0::detail
