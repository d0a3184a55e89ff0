#pragma once

#include <gyre/ring/domain.hpp>
#include <gyre/ring/features.hpp>
#include <gyre/ring/queues.hpp>

#include <atomic>
#include <bitset>
#include <cstdint>
#include <memory>
#include <string>

namespace gyre::inline v0 {

/// Which engine carries a scheduler's operations.
enum class engine_kind : std::uint8_t {
    automatic, ///< `GYRE_ENGINE` if set, else the best that this machine offers.
    uring,     ///< The kernel's io_uring.
    epoll,     ///< System calls that do not wait, and epoll(7): where io_uring is not available.
    blocking,  ///< The plain system calls, and poll(2) where several have to wait.
};

/// The name by which `GYRE_ENGINE` and reports call an engine, e.g. "uring".
const char* engine_name(engine_kind kind) noexcept;

/// What was chosen, and why: the answer of `scheduler::report()`.
struct engine_report {
    engine_kind engine = engine_kind::automatic;
    std::string reason;                ///< Why this engine, in words.
    std::uint32_t setup_flags = 0;     ///< The IORING_SETUP_* flags in use.
    std::uint32_t kernel_features = 0; ///< The IORING_FEAT_* bits the kernel answered.
    std::uint32_t submission_entries = 0;
    std::uint32_t completion_entries = 0;
    feature_set features; ///< In use now.
    feature_set disabled; ///< Switched off by the option or by `GYRE_DISABLE`.
    std::bitset<detail::uapi::opcode_count> opcodes; ///< What the kernel supports, by number.

    /// One `name=value` a line.
    std::string text() const;
};

namespace detail {

/// A time on the engine's clock, in nanoseconds. For the kernel: CLOCK_MONOTONIC.
using engine_time = std::int64_t;
inline constexpr engine_time never = INT64_MAX;

struct engine_options {
    engine_kind kind = engine_kind::automatic;
    unsigned submission_entries = 256;
    unsigned completion_entries = 4096;
    feature_set disable;
    bool log_fallback = true; ///< Say in the log that io_uring is not available.
};

/// What an engine's sends of messages can do. Operations work round what they cannot, and need not
/// know which engine that is.
struct send_abilities {
    /// One that finds the queue of a Unix datagram socket full waits for room. If it cannot, it is
    /// submitted with MSG_DONTWAIT, or its payload may be lost.
    bool wait_for_receiver = true;
    /// IORING_OP_SEND takes the receiver's address.
    bool take_address = true;
};

/// Two queues in memory and what happens in `enter`. There is no virtual call per operation.
///
/// `enter` is one attempt: EINTR, EAGAIN, EBUSY and short submits are visible to the caller, the
/// scheduler, which retries. Only the thread that made the engine may use it, but for `wake`.
class engine {
public:
    /// user_data of the completion that `wake` causes.
    static constexpr std::uint64_t wake_user_data = 2ULL << 28;

    virtual ~engine() = default;
    engine(const engine&) = delete;
    engine& operator=(const engine&) = delete;

    /// Submits what is queued and waits for `wanted` completions (0 or 1), at most until
    /// `deadline`. Returns how many entries were taken, or a negative errno; -ETIME when the time
    /// was up.
    virtual int enter(unsigned wanted, engine_time deadline) noexcept = 0;

    /// True if completions exist that do not fit the completion queue; `enter` brings them.
    virtual bool overflown() const noexcept = 0;

    virtual engine_time now() const noexcept = 0;

    /// Makes a waiting `enter` return, from any thread. May be called while it is not waiting: the
    /// next wait then returns at once.
    virtual void wake() noexcept = 0;

    /// To be called by the owner when the completion of a wake was taken.
    virtual void woken() noexcept = 0;

    /// The descriptor is about to be closed, or handed over to somebody else: what the engine knows
    /// of its number does not hold any more.
    virtual void forget(int fd) noexcept { static_cast<void>(fd); }

    /// Operations on this number come from an owner who may close it and open it again without a
    /// word. Until it is forgotten, nothing that was learnt of it may decide about the next one, and
    /// its mode is not the engine's to change for longer than a call takes.
    virtual void doubt(int fd) noexcept { static_cast<void>(fd); }

    /// What waits for the descriptor may have an outcome now that no readiness tells of.
    virtual void look_again(int fd) noexcept { static_cast<void>(fd); }

    /// The owner of the descriptor decides whether it is O_NONBLOCK: the engine has changed nothing
    /// that it would have to take back.
    virtual void keep_mode(int fd) noexcept { static_cast<void>(fd); }

    /// Readable when `enter` would find something: for a foreign event loop. Made when first asked
    /// for.
    ///
    /// \throws std::system_error  no descriptor is left.
    virtual int pollable_descriptor() = 0;

    virtual domain& resources() const noexcept = 0;

    const engine_report& report() const noexcept { return report_; }
    const send_abilities& sends() const noexcept { return sends_; }

    /// How many there are that may call `wake`, the driver among them. Set by the driver; without
    /// it, anybody may.
    const std::atomic<std::uint32_t>* wakers = nullptr;

    submission_queue submissions;
    completion_queue completions;

protected:
    engine() = default;
    engine_report report_;
    send_abilities sends_;
};

/// Makes the engine that `options`, then `GYRE_ENGINE`, then this machine decide on.
///
/// \throws std::system_error  naming the call, the errno and the limit or setting behind it.
std::unique_ptr<engine> make_engine(const engine_options& options);

std::unique_ptr<engine> make_uring_engine(const engine_options& options, std::string reason);
std::unique_ptr<engine> make_epoll_engine(const engine_options& options, std::string reason);
std::unique_ptr<engine> make_blocking_engine(const engine_options& options, std::string reason);

} // namespace detail
} // namespace gyre::inline v0
