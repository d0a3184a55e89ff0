#pragma once

#include "ring/perform.hpp"

#include <gyre/ring/engine.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gyre::inline v0::detail {

/// Submissions that have not completed, by index, in lists of indices.
class performance_table {
public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    /// Where an entry is: it is in exactly one list.
    enum class place : std::uint8_t {
        runnable, ///< To be tried.
        waiting,  ///< For the readiness of `fd`.
        resting,  ///< For some time to pass: no readiness tells.
    };
    struct item : performance {
        int fd = -1;              ///< What it waits for: this descriptor...
        std::uint32_t events = 0; ///< ...and these POLL values.
        std::uint32_t next = none;
        std::uint32_t previous = none;
        std::uint32_t next_of_hash = none;
        place where = place::runnable;
        bool woken = false;  ///< Its descriptor was said to be ready after the last try.
        bool rested = false; ///< It has been among those that rest.
        bool closed = false; ///< Its descriptor was closed: it ends with ECANCELED.
    };
    struct list {
        std::uint32_t first = none;
        std::uint32_t last = none;
        bool empty() const noexcept { return first == none; }
    };

    item& operator[](std::uint32_t index) noexcept { return items_[index]; }
    std::size_t used() const noexcept { return used_; }
    std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(items_.size()); }

    std::uint32_t add(const submission& taken);
    void remove(std::uint32_t index) noexcept;
    /// The oldest entries come last; `none` if there is none.
    std::uint32_t find(std::uint64_t user_data) const noexcept;
    bool is_free(std::uint32_t index) const noexcept { return items_[index].previous == free_mark; }

    void append(list& to, std::uint32_t index) noexcept;
    void unlink(list& from, std::uint32_t index) noexcept;

private:
    static constexpr std::uint32_t free_mark = none - 1;

    std::uint32_t& chain_of(std::uint64_t user_data) noexcept {
        return chains_[user_data & (chains_.size() - 1)];
    }

    std::vector<item> items_;
    std::vector<std::uint32_t> chains_; // By user_data; as many as entries, a power of two.
    std::uint32_t free_ = none;
    std::size_t used_ = 0;
};

/// What the engines in software share: queues in plain arrays, the submissions in flight, cancels,
/// and the wake-up. They differ in how they wait.
///
/// A submission that is taken is runnable: it is tried as soon as there is room for its completion,
/// so the completion queue never overflows. If it has to wait it is left with the engine, which
/// makes it runnable again when the descriptor is ready.
class software_engine : public engine {
public:
    ~software_engine() override;

    bool overflown() const noexcept final { return !runnable_.empty() || wake_untold_; }
    engine_time now() const noexcept final;
    void wake() noexcept final;
    void woken() noexcept final {}
    void forget(int fd) noexcept final;
    void look_again(int fd) noexcept override;
    void keep_mode(int fd) noexcept final;
    void doubt(int fd) noexcept override;
    domain& resources() const noexcept final { return kernel_domain(); }

protected:
    using table = performance_table;

    software_engine(engine_kind kind, const engine_options& options, std::string reason);

    /// Makes all that is queued runnable. Returns how much that was.
    int take() noexcept;
    /// Tries what is runnable while there is room.
    void run() noexcept;
    /// The same for the one at `index`, the only one there is, by a call that may block; `answer` is
    /// -EINTR when a signal interrupted it. False if it has to wait all the same.
    bool run_blocking(std::uint32_t index, int& answer) noexcept;
    void make_runnable(std::uint32_t index) noexcept;

    /// To be called when `event_fd_` was signalled.
    void take_wake() noexcept;
    /// From a wake() until its completion is told.
    bool wake_is_coming() const noexcept { return signalled_.load() || wake_untold_; }
    /// To be called when `retry_fd_` was readable.
    void take_retry() noexcept;

    bool is_doubted(int fd) const noexcept {
        return static_cast<std::size_t>(fd) < doubted_.size() &&
               doubted_[static_cast<std::size_t>(fd)];
    }
    void trust(int fd) noexcept {
        if (is_doubted(fd)) {
            doubted_[static_cast<std::size_t>(fd)] = false;
        }
    }

    std::uint32_t room() const noexcept { return completions.size() - completions.waiting(); }

    /// Makes runnable what has become ready, without waiting.
    virtual void look() noexcept = 0;
    /// Whether a try can find anything; if not, the entry goes straight to those that wait for
    /// `fd` and `events`.
    virtual bool may_be_ready(table::item& which) noexcept = 0;
    /// Where entries that wait for `fd` are.
    virtual table::list& waiting_for(int fd) noexcept = 0;
    /// Sees to it that `fd` becoming ready for `events` makes the entry runnable. 0 or a negative
    /// errno; -EPERM says that such a file is always ready.
    virtual int watch(table::item& which) noexcept = 0;
    /// A try has come to an end.
    virtual void tried(const table::item& which, std::int32_t result) noexcept = 0;
    virtual void unwatch(int fd) noexcept = 0;
    /// `retry_fd_` was made.
    virtual int watch_retries() noexcept = 0;

    table table_;
    table::list runnable_;
    int event_fd_ = -1;
    int retry_fd_ = -1; // A timer for what rests, while there is any.

private:
    // A listener that was made O_NONBLOCK.
    struct unblocked {
        int fd;
        std::uint32_t closes; // What `closes_of` said then.
    };

    void attempt(std::uint32_t index) noexcept;
    void wait(std::uint32_t index, const outcome& told) noexcept;
    int rest(table::item& which) noexcept;
    void block_again(const unblocked& which) const noexcept;
    void wake_all(int fd, bool closed) noexcept;
    bool cancel(std::uint32_t index) noexcept;
    bool is_target(const submission& cancel, const submission& candidate) const noexcept;
    void finish(std::uint32_t index, std::int32_t result) noexcept;
    void complete(std::uint64_t user_data, std::int32_t result) noexcept;
    table::list& list_of(const table::item& which) noexcept;

    std::unique_ptr<submission[]> submission_array_;
    std::unique_ptr<completion[]> completion_array_;
    std::uint32_t submission_head_ = 0;
    std::uint32_t submission_tail_ = 0;
    std::uint32_t completion_head_ = 0;
    std::uint32_t completion_tail_ = 0;

    table::list resting_;
    std::int64_t retry_interval_ = 0;
    std::vector<unblocked> unblocked_; // Until they are closed.
    std::vector<bool> doubted_;        // By number.

    // true from a wake() until the engine has seen it: more of them in between change nothing.
    std::atomic<bool> signalled_{false};
    bool wake_untold_ = false; // Seen, and there was no room for the completion.
};

} // namespace gyre::inline v0::detail
