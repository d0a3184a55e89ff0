#pragma once

#include <gyre/detail/assert.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/counters.hpp>
#include <gyre/scheduler/slot_table.hpp>
#include <gyre/scheduler/timer.hpp>
#include <gyre/scheduler/waiter.hpp>

#include <cstdint>
#include <memory>

namespace gyre::inline v0 {
class scheduler;
}

namespace gyre::inline v0::detail {

class operation;

/// What operations of one kind have in common.
struct operation_kind {
    pending_kind base;
    std::uint8_t opcode;
    /// A completion came; result and state are set. Runs no user code.
    void (*complete)(operation&) noexcept;
    /// Submits the operation again, outside the walk over the completions.
    void (*resubmit)(operation&) noexcept;
};

enum class operation_state : std::uint8_t {
    idle,
    submitted,
    again, ///< Waits in the loop's list to be submitted again.
    done,
};

/// The part of an operation that the run loop works with, from the slot it takes to its last
/// completion. `operation_awaiter` is the rest.
class operation : public pending {
public:
    bool in_flight() const noexcept {
        return state_ == operation_state::submitted || state_ == operation_state::again;
    }

protected:
    explicit operation(const operation_kind& kind) noexcept : pending(kind.base) {}
    ~operation() = default;

    const operation_kind& kind() const noexcept {
        // `base` is the first member of a standard-layout struct.
        return *reinterpret_cast<const operation_kind*>(kind_);
    }

    friend class run_loop;
    // Set when it starts and not before: there is one of these for each await.
    waiter* told_;
    operation* next_again_;
    run_loop* loop_;
    std::uint32_t slot_;
    std::int32_t result_;
    // Four bytes, so that one store sets them.
    operation_state state_ = operation_state::idle;
    bool cancel_wanted_ = false;
    bool taken_ = false;
    [[maybe_unused]] bool spare_ = false;
};

/// What the loop knows of the tasks it carries: the scope that holds them all.
class root {
public:
    virtual ~root() = default;
    virtual void cancel() noexcept = 0;
    virtual bool empty() const noexcept = 0;
    /// Logs one line for each task that is left.
    virtual void name_stragglers() noexcept = 0;
};

class mailbox;

/// The run loop of one thread: the engine, the operations in flight, the timers and the queue of
/// frames that can go on. `scheduler` is its public face.
///
/// The loop alone resumes frames (a trampoline): a task that awaits or ends leaves the next frame
/// in `run_next_`, so that no compiler's idea of tail calls decides how deep the stack gets.
class run_loop {
public:
    explicit run_loop(std::unique_ptr<engine> chosen);
    ~run_loop();
    run_loop(const run_loop&) = delete;
    run_loop& operator=(const run_loop&) = delete;

    // For operations.

    /// Takes a slot and a zeroed submission for `which`, with `user_data` set.
    submission& prepare(operation& which) noexcept {
        submission* entry = engine_->submissions.acquire();
        if (entry == nullptr) [[unlikely]] {
            return prepare_crowded(which);
        }
        return name(*entry, which);
    }

    /// Has `resubmit` called after the walk over the completions.
    void submit_again(operation& which) noexcept;

    /// Asks the kernel to end `which`. Never fails and takes no entry of the queue now.
    void cancel(operation& which) noexcept;
    void cancel(operation_id which) noexcept;

    /// Cancels `which` and returns when its last completion has come. Meanwhile other completions
    /// are only taken in: nothing is resumed and no timer fires.
    void drain(operation& which) noexcept;

    /// The same for the operation whose id stands in `place`, which it clears when it is done; its
    /// waiter is told.
    void settle(const volatile operation_id& place) noexcept;

    /// A success that nobody took was given back.
    void count_reclaimed() noexcept { ++counters_.reclaimed; }

    /// Hands over what is queued if any of it names `fd`: before that number may be reused.
    void flush_before_close(int fd) noexcept;
    /// To be called before an operation on a number that its owner may close without a word.
    void doubt(int fd) noexcept { engine_->doubt(fd); }
    /// To be called when `fd` was changed in a way that no readiness tells of.
    void look_again(int fd) noexcept;
    /// To be called when the owner of `fd` chooses whether it is O_NONBLOCK.
    void keep_mode(int fd) noexcept;

    bool uses(feature which) const noexcept { return engine_->report().features.contains(which); }

    // For tasks.

    void make_ready(frame& which) noexcept {
        GYRE_ASSERT(!which.ready(), "a frame is told once for each wait");
        which.next_ready = &which;
        *ready_tail_ = &which;
        ready_tail_ = &which.next_ready;
    }
    /// Makes a frame ready whose outcome is stored: it is destroyed instead of resumed.
    void abandon(frame& which) noexcept {
        which.abandoned = true;
        some_abandoned_ = true;
        make_ready(which);
    }
    void leave_ready_queue(frame& which) noexcept;

    /// Lets `which` go on as soon as the running frame suspends: a task that was just awaited.
    void run_next(frame& which) noexcept {
        if (driving_ && run_next_ == nullptr && hops_ < hops_max) {
            which.next_ready = &which;
            run_next_ = &which;
            handed_over_ = true;
        } else {
            make_ready(which);
        }
    }
    /// Called by a frame at its final suspension: the loop destroys it and tells its owner.
    void finished(frame& which) noexcept {
        finished_ = &which;
        handed_over_ = true;
    }

    frame* running() const noexcept { return running_; }

    /// True once in a while: a task whose awaits all complete at once shall let others run.
    bool streak_is_over() noexcept { return ++streak_ >= streak_max; }

    void count_refusal(frame& which) noexcept;

    // Timers.

    void arm_after(timer& which, engine_time duration) noexcept {
        timers_.arm_after(which, duration);
    }
    void arm_at(timer& which, engine_time deadline) noexcept { timers_.arm_at(which, deadline); }
    engine_time now() const noexcept { return engine_->now(); }

    // Driving.

    /// One turn: submits, reaps, fires timers, runs what is ready. With `may_wait` it waits when
    /// nothing is ready.
    void step(bool may_wait) noexcept;
    /// For a caller that waits itself: hands over what the last turn has queued, has other threads
    /// wake the engine's descriptor, and says when to take the next turn at the latest.
    engine_time rest() noexcept;

    /// Ends everything: true when nothing is left. After `limit` nanoseconds it names what is left.
    bool shut_down(engine_time limit) noexcept;

    /// Keeps what `shut_down` could not end where it is, for as long as the program runs.
    void leave_behind() noexcept;

    engine& carrier() const noexcept { return *engine_; }
    mailbox& box() const noexcept { return *mailbox_; }
    scheduler_counters counters() const noexcept;
    std::uint32_t operations_in_flight() const noexcept { return slots_.used(); }

    /// The scope that holds every task, set by the task layer.
    std::unique_ptr<root> tasks;
    /// The public face of this loop.
    scheduler* face = nullptr;

    // The loop that runs on this thread right now, or nullptr. Never inlined: compilers keep the
    // address of a thread's variable across a suspension.
    static run_loop* current() noexcept;

private:
    static constexpr std::uint32_t hops_max = 64;
    static constexpr std::uint32_t streak_max = 64;
    static constexpr std::uint32_t ready_budget = 256;
    static constexpr std::uint64_t cancel_tag = 1ULL << 28;
    static constexpr std::uint64_t tag_mask = 15ULL << 28;

    class current_guard;

    submission& name(submission& entry, operation& which) noexcept {
        slot& taken = slots_.take(which);
        which.slot_ = static_cast<std::uint32_t>(taken.id);
        which.state_ = operation_state::submitted;
        entry.user_data = taken.id;
        return entry;
    }
    submission& prepare_crowded(operation& which) noexcept;
    bool leave_list(frame*& head, frame**& tail, frame& which) noexcept;
    void run_ready() noexcept;
    template <bool SomeAbandoned>
    std::uint32_t run_round() noexcept;
    void begin_to_run(frame& which) noexcept;
    void resume(frame& which) noexcept;
    void follow_up() noexcept;
    void conclude() noexcept;
    void count_refusals(frame& which, std::uint32_t more) noexcept;
    void reap() noexcept;
    void dispatch(const completion& which) noexcept;
    void dispatch_tagged(const completion& which) noexcept;
    bool enter(unsigned wanted, engine_time deadline) noexcept;
    [[noreturn]] void stop_program(int error) noexcept;
    void push_cancel(std::uint32_t index) noexcept;
    void queue_cancels() noexcept {
        if (cancels_head_ != slot_table::none) [[unlikely]] {
            queue_waiting_cancels();
        }
    }
    void queue_waiting_cancels() noexcept;
    submission* make_room() noexcept;
    void resubmit_pending() noexcept;
    void run_posted() noexcept;
    void refuse_posts() noexcept;
    bool is_own_thread() const noexcept;
    void retry_missed_cancels() noexcept;

    std::unique_ptr<engine> engine_;
    frame* ready_head_ = nullptr; // What became ready since the round began.
    frame** ready_tail_ = &ready_head_;
    frame* round_head_ = nullptr; // What is left of the round.
    frame** round_tail_ = &round_head_;
    frame* running_ = nullptr;
    frame* run_next_ = nullptr;
    frame* finished_ = nullptr;
    std::uint32_t streak_ = 0;
    std::uint32_t hops_ = 0;
    bool driving_ = false;
    bool handed_over_ = false;    // `run_next_` or `finished_` was set.
    bool some_abandoned_ = false; // Among those that became ready.
    slot_table slots_;
    std::uint32_t cancels_head_ = slot_table::none;
    std::uint32_t cancels_tail_ = slot_table::none;
    std::uint32_t missed_ = slot_table::none;
    operation* again_ = nullptr;
    scheduler_counters counters_;
    timer_queue timers_;

    struct retry_timer : timer {
        explicit retry_timer(run_loop& owner) noexcept;
        run_loop& loop;
        engine_time interval;
    };
    retry_timer retry_;
    mailbox* mailbox_;
    const void* thread_;
    std::uint64_t forks_seen_ = 0;
    run_loop* left_behind_before_ = nullptr;
};

} // namespace gyre::inline v0::detail
