#pragma once

#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

/// How a scheduler is made.
struct scheduler_options {
    engine_kind engine = engine_kind::automatic;
    /// Entries of the submission queue, rounded up to a power of two. It bounds how many operations
    /// are handed over at once, not how many are in flight.
    unsigned submission_entries = 256;
    /// Entries of the completion queue, at least as many as of the submission queue.
    unsigned completion_entries = 4096;
    /// Features not to use, in addition to those that `GYRE_DISABLE` names.
    feature_set disable = {};
    /// Log a warning, once per process, when io_uring is not available and `automatic` takes
    /// another engine. `report()` says so in any case.
    bool log_fallback = true;
    /// How long the end of a scheduler waits for its canceled tasks. After that it names what is
    /// left in the log and leaves it, memory and ring included.
    std::chrono::milliseconds teardown_limit = std::chrono::seconds(10);
};
static_assert(std::is_trivially_destructible_v<scheduler_options>);

class scheduler;

namespace detail {

run_loop& loop_of(scheduler& face) noexcept;

/// A function on its way to a scheduler.
struct posted {
    posted* next = nullptr;
    /// Runs the function if `run` is true, and frees the node either way.
    void (*finish)(posted&, bool run) = nullptr;
};

} // namespace detail

/// Names a scheduler to other threads, and stays valid when it has ended. Cheap to copy. Every
/// member may be called from any thread.
class scheduler_handle {
public:
    scheduler_handle(const scheduler_handle& other) noexcept;
    scheduler_handle(scheduler_handle&& other) noexcept
        : mailbox_(std::exchange(other.mailbox_, nullptr)) {}
    scheduler_handle& operator=(scheduler_handle other) noexcept {
        std::swap(mailbox_, other.mailbox_);
        return *this;
    }
    ~scheduler_handle();

    /// Runs `function` on the scheduler's thread, between tasks, in the order of posting.
    ///
    /// \param function  a callable without arguments that does not throw. It is destroyed unrun
    ///                  when the scheduler ends first.
    /// \return          `errc::closed` if the scheduler has ended.
    template <class Function>
    result<void> post(Function&& function) const {
        struct node : detail::posted {
            explicit node(Function&& from) : function(std::forward<Function>(from)) {}
            std::decay_t<Function> function;
        };
        auto made = std::make_unique<node>(std::forward<Function>(function));
        made->finish = [](detail::posted& base, bool run) {
            const std::unique_ptr<node> self(static_cast<node*>(&base));
            if (run) {
                self->function();
            }
        };
        if (!deliver(*made)) {
            return errc::closed;
        }
        made.release();
        return {};
    }

private:
    friend class scheduler;
    explicit scheduler_handle(detail::mailbox& box) noexcept;
    bool deliver(detail::posted& node) const noexcept;

    detail::mailbox* mailbox_;
};

/// The run loop of one thread: it owns the engine, the operations in flight, the timers, and the
/// queue of tasks that can go on. `run` makes one for the time of a main task. To drive it from a
/// foreign event loop, make one, `spawn` into it, and call `turn()` when its descriptor is
/// readable.
///
/// Only the thread that made it may use it; other threads hold a `scheduler_handle`. A process that
/// forks must not use an inherited scheduler: it refuses to run there.
class scheduler {
public:
    /// \throws std::system_error  if no engine can be made: the call, the errno and the limit or
    ///                            setting behind it.
    explicit scheduler(const scheduler_options& options = {});

    /// Cancels all tasks, waits for them up to `scheduler_options::teardown_limit`, frees the ring.
    ~scheduler();
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;

    /// The scheduler that runs on this thread right now. There must be one.
    static scheduler& current() noexcept;

    /// Runs what is ready, submits and reaps, without waiting.
    ///
    /// \return  when to call again at the latest although `pollable_descriptor` stays silent:
    ///          `clock::time_point::max()` if no timer is armed.
    clock::time_point turn();

    /// A descriptor that is readable when `turn` would find a completion. It is made when first
    /// asked for.
    ///
    /// \throws std::system_error  `EMFILE`, `ENFILE`, `ENOMEM`.
    int pollable_descriptor() const;

    /// The engine, why it was chosen, and the features it uses.
    const engine_report& report() const noexcept;
    scheduler_counters counters() const noexcept;
    scheduler_handle handle() const noexcept;

    /// The number of operations that the engine has not finished.
    std::size_t operations_in_flight() const noexcept;

private:
    friend detail::run_loop& detail::loop_of(scheduler& face) noexcept;
    std::unique_ptr<detail::run_loop> loop_;
    std::chrono::milliseconds teardown_limit_;
};

inline detail::run_loop& detail::loop_of(scheduler& face) noexcept {
    return *face.loop_;
}

} // namespace gyre::inline v0
