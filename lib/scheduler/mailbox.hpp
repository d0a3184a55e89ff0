#pragma once

#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/scheduler.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace gyre::inline v0::detail {

/// Where other threads leave functions for a loop. Counted: it outlives the loop while a handle
/// does.
///
/// A poster pushes its node, then looks whether the loop sleeps. The loop says that it sleeps, then
/// looks into the box once more. Both orders are sequentially consistent, so at least one of the
/// two sees the other and no node is left behind.
class mailbox {
public:
    explicit mailbox(engine& sleeper) noexcept : sleeper_(&sleeper) {}

    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void drop_reference() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            delete this;
        }
    }

    /// How many there are that may post or wake: the loop and the handles.
    const std::atomic<std::uint32_t>& references() const noexcept { return references_; }

    /// From any thread. False if the loop has ended: then all that it did has happened before, so
    /// the poster may free what the loop knew of.
    bool post(posted& node) noexcept {
        posted* head = head_.load(std::memory_order_acquire);
        do {
            if (head == closed()) {
                return false;
            }
            node.next = head;
        } while (!head_.compare_exchange_weak(head, &node));
        // Only the first poster to find the loop asleep wakes it.
        if (sleeping_.load() && sleeping_.exchange(false)) {
            const std::scoped_lock lock(sleeper_lock_);
            if (sleeper_ != nullptr) {
                sleeper_->wake();
            }
        }
        return true;
    }

    // From the loop's thread.

    bool is_empty() const noexcept { return head_.load() == nullptr; }

    /// False if something is there: then do not sleep.
    bool fall_asleep() noexcept {
        sleeping_.store(true);
        if (is_empty()) {
            return true;
        }
        sleeping_.store(false);
        return false;
    }
    void wake_up() noexcept { sleeping_.store(false, std::memory_order_relaxed); }

    /// What was posted, oldest first.
    posted* take() noexcept { return oldest_first(head_.exchange(nullptr)); }

    /// Refuses posts from now on; the engine is no longer touched. Returns what was left.
    posted* close() noexcept {
        posted* left = head_.exchange(closed());
        const std::scoped_lock lock(sleeper_lock_);
        sleeper_ = nullptr;
        return left == closed() ? nullptr : oldest_first(left);
    }

private:
    ~mailbox() = default;

    posted* closed() noexcept { return &closed_; }
    static posted* oldest_first(posted* newest) noexcept {
        posted* oldest = nullptr;
        while (newest != nullptr) {
            posted* next = newest->next;
            newest->next = oldest;
            oldest = newest;
            newest = next;
        }
        return oldest;
    }

    std::atomic<posted*> head_{nullptr};
    std::atomic<bool> sleeping_{false};
    std::atomic<std::uint32_t> references_{1};
    std::mutex sleeper_lock_; // Protects sleeper_: a wake-up must not meet a ring that is closing.
    engine* sleeper_;
    posted closed_;
};

} // namespace gyre::inline v0::detail
