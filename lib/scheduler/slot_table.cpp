#include <gyre/scheduler/slot_table.hpp>

#include <gyre/detail/assert.hpp>

#include <algorithm>
#include <cstdint>

namespace gyre::inline v0::detail {

slot_table::~slot_table() {
    delete[] slots_;
}

void slot_table::grow() noexcept {
    const std::uint32_t size = size_ == 0 ? 64 : size_ * 2;
    GYRE_ASSERT_ALWAYS(size < none, "at most 2^27 operations can be in flight on one scheduler");
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): out of memory ends the program here.
    slot* grown = new slot[size];
    std::copy(slots_, slots_ + size_, grown);
    delete[] slots_;
    slots_ = grown;
    // Index 0 stays unused, so that no id is ever 0, whatever the generation.
    for (std::uint32_t index = size - 1; index > 0 && index >= size_; --index) {
        slots_[index].id = next_generation | index;
        slots_[index].next_free = free_;
        free_ = &slots_[index];
    }
    size_ = size;
}

// Not the slots whose operation has ended and that a list of cancels still links.
std::uint32_t slot_table::used() const noexcept {
    const auto is_in_flight = [](const slot& each) { return each.target != nullptr; };
    return static_cast<std::uint32_t>(std::count_if(slots_, slots_ + size_, is_in_flight));
}

} // namespace gyre::inline v0::detail
