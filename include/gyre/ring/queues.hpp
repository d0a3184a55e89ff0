#pragma once

#include <gyre/ring/uapi.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0::detail {

/// One entry of the submission queue: the kernel's `struct io_uring_sqe`, field by field. It is our
/// own type so that inline code depends on no version of liburing; lib/ring/uring.cpp asserts that
/// the two layouts agree.
struct submission {
    std::uint8_t opcode;
    std::uint8_t flags;
    std::uint16_t ioprio;
    std::int32_t fd;
    std::uint64_t offset;
    std::uint64_t address;
    std::uint32_t length;
    std::uint32_t operation_flags;
    std::uint64_t user_data;
    std::uint16_t buffer_index;
    std::uint16_t personality;
    std::uint32_t file_index;
    std::uint64_t address3;
    std::uint64_t reserved;
};
static_assert(sizeof(submission) == 64);

/// One entry of the completion queue: the kernel's `struct io_uring_cqe`.
struct completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
};
static_assert(sizeof(completion) == 16);

/// The producer's view of a submission queue in memory that somebody else owns: a kernel mapping or
/// a software engine's arrays. Entries are written in place; `publish()` makes them visible to the
/// consumer, which moves the head.
class submission_queue {
public:
    submission_queue() = default;
    submission_queue(
        submission* entries, std::uint32_t size, std::uint32_t* head, std::uint32_t* tail
    ) noexcept
        : entries_(entries), head_(head), tail_(tail), mask_(size - 1), taken_(*head),
          lap_(*tail & ~mask_), next_(entries + (*tail & mask_)), stretch_end_(next_) {}

    /// The next free entry, zeroed but for what the caller writes, or nullptr when the queue is
    /// full. It counts as queued from now on.
    submission* acquire() noexcept {
        if (next_ == stretch_end_) [[unlikely]] {
            begin_stretch();
            if (next_ == stretch_end_) {
                return nullptr;
            }
        }
        submission* entry = next_++;
        *entry = submission{};
        return entry;
    }

    /// Makes all acquired entries visible to the consumer.
    void publish() noexcept {
        std::atomic_ref<std::uint32_t>(*tail_).store(next_index(), std::memory_order_release);
    }

    /// Learns how far the consumer has come.
    void refresh() noexcept {
        taken_ = std::atomic_ref<std::uint32_t>(*head_).load(std::memory_order_acquire);
    }

    /// How many entries are queued that the consumer had not taken at the last `refresh()`.
    std::uint32_t queued() const noexcept { return next_index() - taken_; }
    std::uint32_t size() const noexcept { return mask_ + 1; }

    /// The queued entry at `position`, counted from the oldest, 0 to `queued() - 1`.
    submission& at(std::uint32_t position) const noexcept {
        return entries_[(taken_ + position) & mask_];
    }

    /// The consumer's side, for engines in software: gives up the oldest entry.
    void consume() noexcept {
        taken_ += 1;
        std::atomic_ref<std::uint32_t>(*head_).store(taken_, std::memory_order_release);
    }

private:
    std::uint32_t next_index() const noexcept {
        return lap_ + static_cast<std::uint32_t>(next_ - entries_);
    }
    // Finds out which entries are free and lie side by side, from the next one on. They stay free.
    void begin_stretch() noexcept {
        if (next_ == entries_ + size()) {
            next_ = entries_;
            lap_ += size();
        }
        const std::uint32_t room = size() - queued();
        const auto to_end = static_cast<std::uint32_t>(entries_ + size() - next_);
        stretch_end_ = next_ + (room < to_end ? room : to_end);
    }

    submission* entries_ = nullptr;
    std::uint32_t* head_ = nullptr;
    std::uint32_t* tail_ = nullptr;
    std::uint32_t mask_ = 0;
    std::uint32_t taken_ = 0;
    std::uint32_t lap_ = 0; // The index of the first entry in this round through the ring.
    submission* next_ = nullptr;
    submission* stretch_end_ = nullptr;
};

/// The consumer's view of a completion queue in memory that somebody else owns.
class completion_queue {
public:
    completion_queue() = default;
    completion_queue(
        const completion* entries, std::uint32_t size, std::uint32_t* head, std::uint32_t* tail
    ) noexcept
        : entries_(entries), head_(head), tail_(tail), mask_(size - 1), next_(*head) {}

    /// How many completions are waiting.
    std::uint32_t waiting() const noexcept {
        return std::atomic_ref<std::uint32_t>(*tail_).load(std::memory_order_acquire) - next_;
    }
    std::uint32_t size() const noexcept { return mask_ + 1; }

    /// The waiting completion at `position`, counted from the oldest.
    const completion& at(std::uint32_t position) const noexcept {
        return entries_[(next_ + position) & mask_];
    }

    /// Of the oldest `count` waiting completions those that lie side by side in memory: all, or
    /// those up to the end of the ring.
    std::span<const completion> front(std::uint32_t count) const noexcept {
        const std::uint32_t first = next_ & mask_;
        const std::uint32_t to_end = size() - first;
        return {entries_ + first, count < to_end ? count : to_end};
    }

    /// Gives the oldest `count` entries back to the producer.
    void advance(std::uint32_t count) noexcept {
        next_ += count;
        std::atomic_ref<std::uint32_t>(*head_).store(next_, std::memory_order_release);
    }

private:
    const completion* entries_ = nullptr;
    std::uint32_t* head_ = nullptr;
    std::uint32_t* tail_ = nullptr;
    std::uint32_t mask_ = 0;
    std::uint32_t next_ = 0;
};

} // namespace gyre::inline v0::detail
