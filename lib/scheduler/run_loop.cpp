#include <gyre/scheduler/run_loop.hpp>

#include "detail/forks.hpp"
#include "scheduler/mailbox.hpp"

#include <gyre/detail/assert.hpp>
#include <gyre/detail/frame_pool.hpp>
#include <gyre/error.hpp>
#include <gyre/log.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>
#include <gyre/scheduler/scheduler.hpp>
#include <gyre/scheduler/slot_table.hpp>
#include <gyre/scheduler/timer.hpp>
#include <gyre/scheduler/waiter.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <utility>

#include <sched.h>

namespace gyre::inline v0::detail {

namespace {

constinit thread_local run_loop* this_threads_loop = nullptr;

void tell_nobody(waiter&) noexcept {}

struct nobody final : waiter {
    nobody() noexcept : waiter(&tell_nobody) {}
};

constexpr engine_time first_retry = 1'000'000;
constexpr engine_time last_retry = 64'000'000;

// The kernel's own restart codes leak through operations that a worker thread was interrupted in.
bool means_canceled(std::int32_t result) noexcept {
    return result == -ECANCELED || result == -EINTR || (result <= -512 && result >= -530);
}

bool names(const submission& entry, int fd) noexcept {
    const bool from = entry.opcode == uapi::op_splice || entry.opcode == uapi::op_tee;
    return entry.fd == fd || (from && entry.file_index == static_cast<std::uint32_t>(fd));
}

} // namespace

// Says which loop runs on this thread for as long as it does.
class run_loop::current_guard {
public:
    explicit current_guard(run_loop& running) noexcept : outer_(this_threads_loop) {
        this_threads_loop = &running;
    }
    ~current_guard() { this_threads_loop = outer_; }
    current_guard(const current_guard&) = delete;
    current_guard& operator=(const current_guard&) = delete;

private:
    run_loop* outer_;
};

[[gnu::noinline]] run_loop* run_loop::current() noexcept {
    asm volatile("");
    return this_threads_loop;
}

run_loop::retry_timer::retry_timer(run_loop& owner) noexcept
    : timer([](timer& self) noexcept {
          static_cast<retry_timer&>(self).loop.retry_missed_cancels();
      }),
      loop(owner), interval(first_retry) {}

run_loop::run_loop(std::unique_ptr<engine> chosen)
    : engine_(std::move(chosen)), timers_(engine_->now()), retry_(*this),
      mailbox_(new mailbox(*engine_)), thread_(static_cast<const void*>(&this_threads_loop)) {
    engine_->wakers = &mailbox_->references();
    count_forks();
    forks_seen_ = forks.load(std::memory_order_relaxed);
}

// The address of a thread's own variable is its name, and the cheapest to ask for.
bool run_loop::is_own_thread() const noexcept {
    return thread_ == static_cast<const void*>(&this_threads_loop);
}

run_loop::~run_loop() {
    refuse_posts();
    mailbox_->drop_reference();
    frame_pool::drain();
}

// Turns.

void run_loop::step(bool may_wait) noexcept {
    GYRE_ASSERT_ALWAYS(
        forks_seen_ == forks.load(std::memory_order_relaxed),
        "a scheduler inherited through fork() must not run: make one after the fork"
    );
    GYRE_ASSERT_ALWAYS(is_own_thread(), "a scheduler is driven by the thread that made it");
    GYRE_ASSERT_ALWAYS(
        this_threads_loop == nullptr,
        "a task cannot drive a scheduler: it would stop all tasks of the one that it runs on"
    );
    const current_guard guard(*this);

    ++counters_.turns;
    if (!may_wait) {
        mailbox_->wake_up(); // After a rest.
    }
    queue_cancels(); // May reap, and so make frames ready and arm timers.
    // The clock is read once a turn, and only where there are timers.
    engine_time now = 0;
    if (timers_.has_fresh() || timers_.earliest() != never) {
        now = engine_->now();
        if (timers_.has_fresh()) {
            timers_.absorb(now);
        }
    }
    bool due = timers_.earliest() <= now;
    bool waits = may_wait && !due && ready_head_ == nullptr && again_ == nullptr;
    waits = waits && mailbox_->fall_asleep();
    if (enter(waits ? 1 : 0, waits ? timers_.earliest() : never)) {
        now = engine_->now();
        due = true;
    }
    if (waits) {
        mailbox_->wake_up();
    }
    reap();
    resubmit_pending();
    if (!mailbox_->is_empty()) {
        run_posted();
    }
    // After the reap: data that is already here beats its own timeout.
    if (due) {
        counters_.timers_fired += timers_.expire(now);
    }
    // Last, so that a caller who waits for a task sees at once that it has ended.
    run_ready();
}

engine_time run_loop::rest() noexcept {
    queue_cancels();
    if (engine_->submissions.queued() != 0) {
        enter(0, never);
        if (engine_->submissions.queued() != 0) {
            return 0; // A signal came first.
        }
    }
    if (ready_head_ != nullptr || again_ != nullptr || engine_->completions.waiting() != 0 ||
        !mailbox_->fall_asleep()) {
        return 0;
    }
    if (timers_.has_fresh()) {
        timers_.absorb(engine_->now());
    }
    return timers_.earliest();
}

// Runs what was ready at the start, within a budget: what becomes ready meanwhile waits for the
// next round, after the kernel was asked for completions, so that no task can starve the others.
void run_loop::run_ready() noexcept {
    if (ready_head_ == nullptr) {
        return;
    }
    round_head_ = ready_head_;
    round_tail_ = ready_tail_;
    ready_head_ = nullptr;
    ready_tail_ = &ready_head_;
    const bool some_abandoned = some_abandoned_;
    some_abandoned_ = false;
    driving_ = true;
    counters_.resumptions += some_abandoned ? run_round<true>() : run_round<false>();
    running_ = nullptr;
    driving_ = false;
    if (round_head_ != nullptr) {
        // What is left of the round goes on before what became ready in it.
        if (ready_head_ != nullptr) {
            *round_tail_ = ready_head_;
        } else {
            ready_tail_ = round_tail_;
        }
        ready_head_ = round_head_;
        round_head_ = nullptr;
        some_abandoned_ = some_abandoned_ || some_abandoned;
    }
}

// Returns how many frames ran.
template <bool SomeAbandoned>
std::uint32_t run_loop::run_round() noexcept {
    std::uint32_t budget = ready_budget;
    do {
        frame* next = round_head_;
        frame* after = next->next_ready;
        round_head_ = after != next ? after : nullptr;
        begin_to_run(*next);
        if (SomeAbandoned && next->abandoned) {
            finished(*next);
        } else {
            resume(*next);
        }
        if (handed_over_) {
            follow_up();
        }
    } while (--budget != 0 && round_head_ != nullptr);
    return ready_budget - budget;
}

inline void run_loop::begin_to_run(frame& which) noexcept {
    which.next_ready = nullptr;
    which.awaiting = nullptr;
    running_ = &which;
}

inline void run_loop::resume(frame& which) noexcept {
    streak_ = 0;
    which.handle.resume();
}

// The frame that ran has ended, or left another one to go on in its place.
void run_loop::follow_up() noexcept {
    hops_ = 0;
    while (handed_over_) {
        handed_over_ = false;
        if (finished_ != nullptr) {
            conclude();
        }
        if (frame* next = run_next_; next != nullptr) {
            run_next_ = nullptr;
            handed_over_ = false;
            ++hops_;
            begin_to_run(*next);
            resume(*next);
        }
    }
    counters_.resumptions += hops_;
    hops_ = 0;
}

// The frame goes first, with its locals and arguments; then its owner is told.
void run_loop::conclude() noexcept {
    frame* ended = finished_;
    finished_ = nullptr;
    task_owner* owner = ended->owner;
    const std::uint32_t refusals = ended->refusals;
    // Nobody looks for the frame any more: its destructors may cancel the scope it is in.
    owner->handle = nullptr;
    ended->handle.destroy();
    running_ = nullptr;
    waiter* told = owner->notified;
    if (told->notifies_by(&frame::become_ready)) {
        frame& caller = static_cast<frame&>(*told);
        if (refusals != 0) [[unlikely]] {
            count_refusals(caller, refusals); // A loop may be refused through a helper.
        }
        run_next(caller);
    } else {
        told->notify();
    }
}

void frame::become_ready(waiter& self) noexcept {
    frame& woken = static_cast<frame&>(self);
    woken.context.owner->make_ready(woken);
}

void frame::leave_ready_queue() noexcept {
    context.owner->leave_ready_queue(*this);
}

void run_loop::leave_ready_queue(frame& which) noexcept {
    if (run_next_ == &which) {
        run_next_ = nullptr;
    } else if (!leave_list(ready_head_, ready_tail_, which)) {
        leave_list(round_head_, round_tail_, which);
    }
    which.next_ready = nullptr;
}

// Unlinks `which` if it is in the list. The last frame of a list is its own successor.
bool run_loop::leave_list(frame*& head, frame**& tail, frame& which) noexcept {
    if (head == nullptr) {
        return false;
    }
    frame* before = nullptr;
    frame* here = head;
    while (here != &which) {
        if (here->next_ready == here) {
            return false;
        }
        before = here;
        here = here->next_ready;
    }
    frame*& link = before != nullptr ? before->next_ready : head;
    if (which.next_ready != &which) {
        link = which.next_ready;
    } else {
        link = before; // Its own successor, or an empty list.
        tail = &link;
    }
    return true;
}

void run_loop::count_refusal(frame& which) noexcept {
    ++counters_.refusals;
    count_refusals(which, 1);
}

void run_loop::count_refusals(frame& which, std::uint32_t more) noexcept {
    const std::uint32_t before = which.refusals;
    which.refusals += more;
    if (before < 1000 && which.refusals >= 1000) {
        const std::source_location where = which.site.location();
        log(log_level::warning,
            std::string(
                "a task goes on although its scope is canceled: 1000 operations were refused, "
                "the last one at "
            ) + where.file_name() +
                ":" + std::to_string(where.line()) + " in " + where.function_name());
    }
}

// Kernel entries.

// True if the deadline has come.
bool run_loop::enter(unsigned wanted, engine_time deadline) noexcept {
    queue_cancels();
    for (;;) {
        ++counters_.enters;
        const int answer = engine_->enter(wanted, deadline);
        if (answer >= 0) {
            counters_.submissions += static_cast<unsigned>(answer);
            if (engine_->submissions.queued() == 0 || answer == 0) {
                return false;
            }
            // A short submit does not wait: what is left goes out first.
            ++counters_.enter_retries;
            if (engine_->completions.waiting() != 0) {
                return false;
            }
            continue;
        }
        if (answer == -ETIME) {
            return true;
        }
        ++counters_.enter_retries;
        if (answer == -EINTR) {
            return false; // Not retried here: the signal may be what the caller waits for.
        }
        if (answer != -EAGAIN && answer != -EBUSY) {
            stop_program(-answer);
        }
        if (engine_->completions.waiting() != 0) {
            return false; // Reaping is what helps against EBUSY.
        }
        sched_yield();
    }
}

// Operations in flight can neither be ended nor waited for, and their memory must not be freed
// under the kernel: there is no way to go on.
void run_loop::stop_program(int error) noexcept {
    log(log_level::error,
        std::string(engine_name(engine_->report().engine)) +
            ": entering the engine failed: " + describe(errno_code(error)) +
            "; operations in flight cannot be ended, so the program stops");
    std::abort();
}

submission* run_loop::make_room() noexcept {
    ++counters_.submission_queue_full;
    for (;;) {
        ++counters_.enters;
        const int answer = engine_->enter(0, never);
        if (answer >= 0) {
            counters_.submissions += static_cast<unsigned>(answer);
        }
        if (submission* entry = engine_->submissions.acquire()) {
            return entry;
        }
        // Reap before trying again: once completions overflow, the kernel may answer EBUSY until
        // some are taken, and trying again would spin.
        ++counters_.enter_retries;
        reap();
        if (answer < 0 && answer != -EINTR && answer != -EAGAIN && answer != -EBUSY) {
            stop_program(-answer);
        }
    }
}

// Making room may reap, and what it reaps may have canceled the operation.
submission& run_loop::prepare_crowded(operation& which) noexcept {
    submission& entry = name(*make_room(), which);
    if (which.cancel_wanted_) {
        push_cancel(which.slot_);
    }
    return entry;
}

void run_loop::flush_before_close(int fd) noexcept {
    const submission_queue& queue = engine_->submissions;
    for (std::uint32_t position = 0; position < queue.queued(); ++position) {
        if (names(queue.at(position), fd)) {
            while (engine_->submissions.queued() != 0) {
                enter(0, never);
                reap();
            }
            break;
        }
    }
    if (forks_seen_ == forks.load(std::memory_order_relaxed)) { // Else it is the parent's engine.
        engine_->forget(fd);
    }
}

void run_loop::look_again(int fd) noexcept {
    if (forks_seen_ == forks.load(std::memory_order_relaxed)) {
        engine_->look_again(fd);
    }
}

void run_loop::keep_mode(int fd) noexcept {
    if (forks_seen_ == forks.load(std::memory_order_relaxed)) {
        engine_->keep_mode(fd);
    }
}

// Completions.

void run_loop::reap() noexcept {
    completion_queue& queue = engine_->completions;
    for (;;) {
        std::uint32_t left = queue.waiting();
        while (left != 0) {
            const std::span<const completion> side_by_side = queue.front(left);
            for (const completion& each : side_by_side) {
                dispatch(each);
            }
            const auto taken = static_cast<std::uint32_t>(side_by_side.size());
            queue.advance(taken);
            left -= taken;
        }
        if (!engine_->overflown()) [[likely]] {
            return;
        }
        ++counters_.completion_queue_overflow;
        ++counters_.enters;
        const int answer = engine_->enter(0, never);
        if (answer >= 0) {
            counters_.submissions += static_cast<unsigned>(answer);
        }
    }
}

inline void run_loop::dispatch(const completion& which) noexcept {
    const auto index = static_cast<std::uint32_t>(which.user_data);
    if (index >= slots_.size()) [[unlikely]] { // Tags make it large.
        dispatch_tagged(which);
        return;
    }
    slot& named = slots_[index];
    if (named.id != which.user_data) [[unlikely]] {
        ++counters_.stray_completions;
        return;
    }
    operation& target = *named.target;
    std::int32_t result = which.result;
    if (result < 0 && target.cancel_wanted_ && means_canceled(result)) [[unlikely]] {
        result = -ECANCELED;
    }
    target.result_ = result;
    const operation_kind& kind = target.kind();
    scheduler_counters::outcomes& outcomes = counters_.completions[kind.opcode];
    if (result >= 0) [[likely]] {
        ++outcomes.succeeded;
    } else if (result == -ECANCELED) {
        ++outcomes.canceled;
    } else {
        ++outcomes.failed;
    }
    if ((which.flags & uapi::cqe_f_more) == 0) [[likely]] {
        slots_.release(named);
        target.state_ = operation_state::done;
    }
    kind.complete(target);
}

void run_loop::dispatch_tagged(const completion& which) noexcept {
    if ((which.user_data & tag_mask) == engine::wake_user_data) {
        ++counters_.wakes;
        engine_->woken();
        return;
    }
    if ((which.user_data & tag_mask) != cancel_tag) {
        counters_.stray_completions += (which.user_data & tag_mask) == 0;
        return;
    }
    const operation_id target = which.user_data & ~tag_mask;
    slot* named = slots_.find(target);
    if (which.result >= 0) {
        ++counters_.cancels_found;
    } else if (which.result == -EALREADY) {
        ++counters_.cancels_running;
    } else if (named == nullptr) {
        ++counters_.cancels_late;
    }
    if (named == nullptr || named->cancel != cancel_state::sent || which.result >= 0) {
        return;
    }
    // Not found, or running, and yet in flight. That is no proof that the target is about to end:
    // only its own completion is. Ask again after a while.
    if (which.result != -EALREADY) {
        ++counters_.cancels_missed;
    }
    named->cancel = cancel_state::missed;
    named->link = missed_;
    missed_ = static_cast<std::uint32_t>(target) & slot_table::none;
    if (!retry_.armed()) {
        timers_.arm_after(retry_, retry_.interval);
    }
}

void run_loop::submit_again(operation& which) noexcept {
    ++counters_.rearms;
    which.state_ = operation_state::again;
    which.next_again_ = again_;
    again_ = &which;
}

void run_loop::resubmit_pending() noexcept {
    // Submitting may reap, which may add to the list: take one at a time.
    while (again_ != nullptr) {
        operation& next = *again_;
        again_ = next.next_again_;
        next.kind().resubmit(next);
    }
}

// Cancels.

void run_loop::cancel(operation& which) noexcept {
    which.cancel_wanted_ = true;
    if (which.state_ == operation_state::submitted &&
        slots_[which.slot_].cancel == cancel_state::none) {
        push_cancel(which.slot_);
    }
}

void run_loop::cancel(operation_id which) noexcept {
    if (slot* named = slots_.find(which)) {
        cancel(*named->target);
    }
}

void run_loop::push_cancel(std::uint32_t index) noexcept {
    slots_[index].cancel = cancel_state::queued;
    slots_[index].link = slot_table::none;
    if (cancels_head_ == slot_table::none) {
        cancels_head_ = index;
    } else {
        slots_[cancels_tail_].link = index;
    }
    cancels_tail_ = index;
}

// Moves the waiting cancels into the submission queue, behind their targets.
void run_loop::queue_waiting_cancels() noexcept {
    while (cancels_head_ != slot_table::none) {
        if (slots_[cancels_head_].target != nullptr) {
            submission* entry = engine_->submissions.acquire();
            if (entry == nullptr) {
                entry = make_room(); // May reap, which may end this target or another one.
            }
            // A slot in the list stays there until it is taken out here, so the head is still set.
            const std::uint32_t index = cancels_head_;
            if (slots_[index].target == nullptr) {
                // The entry is taken and must say something: that this target cannot be found.
                entry->opcode = uapi::op_nop;
                entry->fd = -1;
                entry->user_data = 3ULL << 28;
            } else {
                entry->opcode = uapi::op_async_cancel;
                entry->fd = -1;
                entry->address = slots_.id(index);
                entry->user_data = slots_.id(index) | cancel_tag;
            }
        }
        const std::uint32_t index = cancels_head_;
        cancels_head_ = slots_[index].link;
        if (slots_[index].target == nullptr) {
            slots_.free(slots_[index]);
        } else {
            slots_[index].cancel = cancel_state::sent;
        }
    }
}

void run_loop::retry_missed_cancels() noexcept {
    bool any = false;
    while (missed_ != slot_table::none) {
        const std::uint32_t index = missed_;
        missed_ = slots_[index].link;
        if (slots_[index].target == nullptr) {
            slots_.free(slots_[index]);
        } else {
            push_cancel(index);
            any = true;
        }
    }
    retry_.interval = any ? std::min(retry_.interval * 2, last_retry) : first_retry;
}

void run_loop::drain(operation& which) noexcept {
    GYRE_ASSERT_ALWAYS(
        is_own_thread(), "an operation in flight must be destroyed by the thread of its scheduler"
    );
    ++counters_.forced_drains;
    if (which.state_ == operation_state::again) {
        operation** link = &again_;
        while (*link != &which) {
            link = &(*link)->next_again_;
        }
        *link = which.next_again_;
        which.state_ = operation_state::done;
        which.result_ = -ECANCELED;
        return;
    }
    nobody ignored;
    which.told_ = &ignored;
    which.cancel_wanted_ = true;
    cancel(which);
    engine_time patience = first_retry;
    while (which.state_ == operation_state::submitted) {
        const engine_time until = engine_->now() + patience;
        do {
            enter(1, until);
            reap();
        } while (which.state_ == operation_state::submitted && engine_->now() < until);
        // The timer that repeats missed cancels does not fire in here.
        retry_missed_cancels();
        patience = patience < last_retry ? patience * 2 : last_retry;
    }
}

// Other threads.

void run_loop::run_posted() noexcept {
    for (posted* next = mailbox_->take(); next != nullptr;) {
        posted& taken = *next;
        next = taken.next;
        ++counters_.posts;
        taken.finish(taken, true);
    }
}

void run_loop::settle(const volatile operation_id& place) noexcept {
    GYRE_ASSERT_ALWAYS(
        is_own_thread(),
        "a descriptor with operations in flight must be closed by the thread of its scheduler"
    );
    if (place == 0) {
        return;
    }
    ++counters_.forced_drains;
    engine_time patience = first_retry;
    while (place != 0) {
        const engine_time until = engine_->now() + patience;
        do {
            resubmit_pending(); // One of them may be it: it needs an id to be canceled by.
            cancel(place);
            enter(1, until);
            reap();
        } while (place != 0 && engine_->now() < until);
        retry_missed_cancels();
        patience = patience < last_retry ? patience * 2 : last_retry;
    }
}

void run_loop::refuse_posts() noexcept {
    for (posted* left = mailbox_->close(); left != nullptr;) {
        posted* next = left->next;
        left->finish(*left, false);
        left = next;
    }
}

void run_loop::leave_behind() noexcept {
    if (forks_seen_ == forks.load(std::memory_order_relaxed)) {
        refuse_posts(); // In a forked child its lock may be held for ever.
    }
    // The list keeps everything reachable, so that a leak checker sees the intent.
    static constinit std::atomic<run_loop*> list{nullptr};
    left_behind_before_ = list.exchange(this);
}

bool run_loop::shut_down(engine_time limit) noexcept {
    if (forks_seen_ != forks.load(std::memory_order_relaxed)) {
        return false; // The ring and what is in flight belong to the parent process.
    }
    const engine_time now = engine_->now();
    const engine_time deadline = limit < never - now ? now + limit : never;
    if (tasks != nullptr) {
        tasks->cancel();
    }
    // Its own limit wakes the loop, so that a teardown ends although nothing happens.
    timer alarm([](timer&) noexcept {});
    while ((tasks != nullptr && !tasks->empty()) || slots_.used() != 0) {
        if (engine_->now() >= deadline) {
            if (tasks != nullptr) {
                tasks->name_stragglers();
            }
            log(log_level::error,
                "a scheduler ends with " + std::to_string(slots_.used()) +
                    " operations that do not end; their memory and the ring are left as they are");
            return false;
        }
        if (!alarm.armed()) {
            timers_.arm_at(alarm, deadline);
        }
        step(true);
    }
    return true;
}

scheduler_counters run_loop::counters() const noexcept {
    scheduler_counters copy = counters_;
    copy.slots = slots_.size();
    return copy;
}

} // namespace gyre::inline v0::detail
