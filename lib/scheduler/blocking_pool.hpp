#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

namespace gyre::inline v0::detail {

class blocking_pool;

/// A call that may block, on its way to a thread of a pool. It is an object of its own, since
/// nobody can say how long the call takes: who asked for it may be gone by then.
class blocking_job {
public:
    blocking_job(const blocking_job&) = delete;
    blocking_job& operator=(const blocking_job&) = delete;

protected:
    using run_function = void(blocking_job&) noexcept;

    /// \param run  makes the call, on a thread of the pool. The pool touches the job no more, so
    ///             `run` is who frees it or passes it on.
    explicit blocking_job(run_function* run) noexcept : run_(run) {}
    ~blocking_job() = default;

private:
    friend blocking_pool;
    run_function* run_;
    blocking_pool* pool_ = nullptr;
    // In the queue of jobs that no thread has begun. Protected by the pool's lock.
    blocking_job* previous_ = nullptr;
    blocking_job* next_ = nullptr;
    bool queued_ = false;
};

/// A few threads for calls that cannot be made without waiting, such as getaddrinfo(3). They start
/// when they are needed and end when they have had nothing to do for a while; signals are blocked
/// on them, so that those of the program go where it expects them.
///
/// A job that finds all threads busy waits in a queue, in order, and can be withdrawn there: so the
/// queue has no limit of its own, and a job in it costs its owner's memory and nothing else.
class blocking_pool {
public:
    struct limits {
        std::size_t threads = 4;
        std::chrono::milliseconds idle = std::chrono::seconds(10);
    };

    explicit blocking_pool(const limits& chosen);
    /// Waits for the jobs that have begun; those in the queue are left as they are.
    ~blocking_pool();
    blocking_pool(const blocking_pool&) = delete;
    blocking_pool& operator=(const blocking_pool&) = delete;

    /// The pool of this process, made on first use; a child of fork(2) gets one of its own.
    ///
    /// It lives as long as the process. At exit(3) its idle threads are joined, and the busy ones
    /// are left to themselves: a lookup that hangs does not keep a program from ending.
    ///
    /// \throws std::bad_alloc
    static blocking_pool& of_process();

    /// Has `job` run. From any thread.
    ///
    /// \return  0, or why it will not run: `EAGAIN` or `ENOMEM` there is no thread and none can be
    ///          started, `ECANCELED` the process is at its end.
    int submit(blocking_job& job) noexcept;

    /// Takes back a job that was submitted, from any thread. False if a thread has begun it: then
    /// it is no longer the caller's. In a child of fork(2) always false for a job of the parent,
    /// whose memory the child's copy of the pool still refers to.
    static bool withdraw(blocking_job& job) noexcept;

    /// How many threads there are that have not ended.
    std::size_t threads() const noexcept;

private:
    enum class state : std::uint8_t {
        none,  // No thread.
        alive, // Idle, or between two jobs.
        busy,  // In a job.
        ended, // To be joined; it touches nothing any more.
    };
    struct worker {
        bool is_alive() const noexcept { return now == state::alive || now == state::busy; }

        std::thread thread;
        state now = state::none;
    };

    bool is_inherited() const noexcept;
    void append(blocking_job& job) noexcept;
    void unlink(blocking_job& job) noexcept;
    int start_worker() noexcept;
    void work(worker& self) noexcept;
    void leave() noexcept;
    static void leave_at_exit() noexcept;

    const limits limits_;
    const std::uint64_t forks_seen_;
    blocking_pool* of_parent_ = nullptr; // Keeps what a fork has left behind reachable.

    mutable std::mutex lock_; // Protects everything below.
    std::condition_variable wake_;
    std::unique_ptr<worker[]> workers_;
    blocking_job* first_ = nullptr;
    blocking_job* last_ = nullptr;
    std::size_t queued_ = 0;
    std::size_t idle_ = 0; // Threads that wait, the ones that were just notified among them.
    bool ends_ = false;
};

} // namespace gyre::inline v0::detail
