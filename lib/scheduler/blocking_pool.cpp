#include "scheduler/blocking_pool.hpp"

#include "detail/forks.hpp"

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include <pthread.h>
#include <signal.h>

namespace gyre::inline v0::detail {

namespace {

constinit std::atomic<blocking_pool*> pool_of_process{nullptr};

std::uint64_t forks_so_far() noexcept {
    count_forks();
    return forks.load(std::memory_order_relaxed);
}

// A new thread begins with the mask of its maker.
class all_signals_blocked {
public:
    all_signals_blocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~all_signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    all_signals_blocked(const all_signals_blocked&) = delete;
    all_signals_blocked& operator=(const all_signals_blocked&) = delete;

private:
    sigset_t before_;
};

} // namespace

blocking_pool::blocking_pool(const limits& chosen)
    : limits_(chosen), forks_seen_(forks_so_far()),
      workers_(std::make_unique<worker[]>(chosen.threads)) {}

blocking_pool::~blocking_pool() {
    {
        const std::scoped_lock lock(lock_);
        ends_ = true;
    }
    wake_.notify_all();
    for (std::size_t index = 0; index < limits_.threads; ++index) {
        if (workers_[index].thread.joinable()) {
            workers_[index].thread.join();
        }
    }
}

blocking_pool& blocking_pool::of_process() {
    blocking_pool* known = pool_of_process.load(std::memory_order_acquire);
    if (known != nullptr && !known->is_inherited()) [[likely]] {
        return *known;
    }
    auto made = std::make_unique<blocking_pool>(limits());
    made->of_parent_ = known;
    // Never destroyed: a thread that is busy at the end of the process still refers to it.
    if (!pool_of_process.compare_exchange_strong(
            known, made.get(), std::memory_order_acq_rel, std::memory_order_acquire
        )) {
        return *known; // Another thread was first.
    }
    if (made->of_parent_ == nullptr) {
        std::atexit(&leave_at_exit); // A child inherits it.
    }
    return *made.release();
}

int blocking_pool::submit(blocking_job& job) noexcept {
    std::unique_lock lock(lock_);
    if (ends_) {
        return ECANCELED;
    }
    append(job);
    if (idle_ < queued_) {
        const int error = start_worker();
        if (error != 0) {
            unlink(job);
            return error;
        }
    }
    const bool somebody_waits = idle_ != 0;
    lock.unlock();
    if (somebody_waits) {
        wake_.notify_one();
    }
    return 0;
}

bool blocking_pool::withdraw(blocking_job& job) noexcept {
    blocking_pool& from = *job.pool_;
    if (from.is_inherited()) {
        return false; // Its lock may be held for ever.
    }
    const std::scoped_lock lock(from.lock_);
    if (!job.queued_) {
        return false;
    }
    from.unlink(job);
    return true;
}

std::size_t blocking_pool::threads() const noexcept {
    const std::scoped_lock lock(lock_);
    std::size_t count = 0;
    for (std::size_t index = 0; index < limits_.threads; ++index) {
        count += workers_[index].is_alive() ? 1U : 0U;
    }
    return count;
}

bool blocking_pool::is_inherited() const noexcept {
    return forks_seen_ != forks.load(std::memory_order_relaxed);
}

void blocking_pool::append(blocking_job& job) noexcept {
    job.pool_ = this;
    job.queued_ = true;
    job.next_ = nullptr;
    job.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &job;
    last_ = &job;
    ++queued_;
}

void blocking_pool::unlink(blocking_job& job) noexcept {
    job.queued_ = false;
    (job.previous_ != nullptr ? job.previous_->next_ : first_) = job.next_;
    (job.next_ != nullptr ? job.next_->previous_ : last_) = job.previous_;
    --queued_;
}

// Starts one more thread unless there are enough. Returns an errno if there is none and none can be
// started; if there is one, the job waits for that.
int blocking_pool::start_worker() noexcept {
    worker* place = nullptr;
    bool any_alive = false;
    for (std::size_t index = 0; index < limits_.threads; ++index) {
        worker& each = workers_[index];
        if (each.is_alive()) {
            any_alive = true;
        } else if (place == nullptr) {
            place = &each;
        }
    }
    if (place == nullptr) {
        return 0;
    }
    if (place->now == state::ended) {
        place->thread.join(); // It has given the lock back and does nothing any more.
        place->now = state::none;
    }
    try {
        const all_signals_blocked guard;
        place->thread = std::thread([this, place] { work(*place); });
    } catch (const std::system_error& error) {
        return any_alive ? 0 : error.code().value();
    } catch (const std::bad_alloc&) {
        return any_alive ? 0 : ENOMEM;
    }
    place->now = state::alive;
    return 0;
}

void blocking_pool::work(worker& self) noexcept {
    pthread_setname_np(pthread_self(), "gyre-blocking");
    std::unique_lock lock(lock_);
    for (;;) {
        while (first_ != nullptr && !ends_) {
            blocking_job& next = *first_;
            unlink(next);
            self.now = state::busy;
            lock.unlock();
            next.run_(next);
            lock.lock();
            self.now = state::alive;
        }
        ++idle_;
        const bool called =
            wake_.wait_for(lock, limits_.idle, [this] { return first_ != nullptr || ends_; });
        --idle_;
        if (!called || ends_) {
            self.now = state::ended;
            return;
        }
    }
}

// The process ends: joins the threads that have nothing to do, so that a leak checker finds none of
// them, and leaves the others to the kernel.
void blocking_pool::leave() noexcept {
    std::unique_lock lock(lock_);
    ends_ = true;
    for (std::size_t index = 0; index < limits_.threads; ++index) {
        if (workers_[index].now == state::busy) {
            workers_[index].thread.detach();
        }
    }
    lock.unlock();
    wake_.notify_all();
    for (std::size_t index = 0; index < limits_.threads; ++index) {
        if (workers_[index].thread.joinable()) {
            workers_[index].thread.join();
        }
    }
}

void blocking_pool::leave_at_exit() noexcept {
    blocking_pool* known = pool_of_process.load(std::memory_order_acquire);
    if (known != nullptr && !known->is_inherited()) {
        known->leave();
    }
}

} // namespace gyre::inline v0::detail
