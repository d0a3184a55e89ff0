#include "ring/limits.hpp"
#include "ring/software.hpp"

#include <gyre/error.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/uapi.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

// Completions that are there keep the engine from polling, for this many entries at most: a peer
// that always has more must not starve the others.
constexpr unsigned entries_without_poll_max = 8;

// One operation and nothing else to wait for: the plain blocking system call. Otherwise ppoll(2)
// over all that waits, and then the calls.
//
// Nothing can end a blocking call but what it waits for, and a signal of the program's own. So it
// is made only while nobody could want to: without a deadline, and without a handle by which
// another thread could post. Who wants to be woken is in poll.
class blocking_engine final : public software_engine {
public:
    blocking_engine(const engine_options& options, std::string reason)
        : software_engine(engine_kind::blocking, options, std::move(reason)) {}
    ~blocking_engine() override {
        if (mirror_fd_ >= 0) {
            ::close(mirror_fd_);
        }
    }

    int enter(unsigned wanted, engine_time deadline) noexcept override;
    int pollable_descriptor() override;

private:
    int run_several(unsigned wanted, engine_time deadline) noexcept;
    int wait_for_events(engine_time deadline) noexcept;
    bool is_alone() noexcept;
    void mirror() noexcept;

    void look() noexcept override { wait_for_events(0); }
    bool may_be_ready(table::item&) noexcept override { return true; }
    table::list& waiting_for(int) noexcept override { return waiting_; }
    int watch(table::item&) noexcept override { return 0; }
    void tried(const table::item&, std::int32_t) noexcept override {}
    void unwatch(int) noexcept override {}
    int watch_retries() noexcept override { return 0; }

    table::list waiting_;
    unsigned entries_without_poll_ = 0;
    std::vector<pollfd> polled_;
    std::vector<std::uint32_t> indices_; // Of the items in `polled_`, from its third element on.
    // For a foreign event loop: what `polled_` would hold, as one descriptor.
    int mirror_fd_ = -1;
    std::vector<int> mirrored_;
    std::vector<std::uint32_t> asked_; // By number: for what the mirror waits.
};

int blocking_engine::enter(unsigned wanted, engine_time deadline) noexcept {
    const int taken = take();
    int answer = 0;
    if (wanted == 0 || deadline != never || !is_alone() ||
        !run_blocking(runnable_.empty() ? waiting_.first : runnable_.first, answer)) {
        answer = run_several(wanted, deadline);
    }
    if (mirror_fd_ >= 0) [[unlikely]] {
        mirror();
    }
    return taken != 0 ? taken : answer;
}

int blocking_engine::run_several(unsigned wanted, engine_time deadline) noexcept {
    run();
    if (completions.waiting() != 0 && ++entries_without_poll_ < entries_without_poll_max) {
        return 0;
    }
    entries_without_poll_ = 0;
    const bool waits = wanted != 0 && completions.waiting() == 0;
    do {
        const int count = wait_for_events(waits ? deadline : 0);
        if (count <= 0) {
            return count == 0 && waits ? -ETIME : count;
        }
        run();
    } while (waits && completions.waiting() == 0);
    return 0;
}

// Whether one operation is all there is to wait for.
bool blocking_engine::is_alone() noexcept {
    if (table_.used() != 1 || completions.waiting() != 0) {
        return false;
    }
    if (runnable_.empty() && waiting_.empty()) {
        return false; // It rests.
    }
    const table::item& only = table_[runnable_.empty() ? waiting_.first : runnable_.first];
    if (only.closed || only.entry.opcode == uapi::op_async_cancel ||
        only.entry.opcode == uapi::op_close) {
        return false;
    }
    // The handles first: who had one has called wake() before it gave it up.
    return wakers != nullptr && wakers->load(std::memory_order_acquire) == 1 && !wake_is_coming();
}

// Makes runnable what is ready. Returns how much that is, a wake-up included.
int blocking_engine::wait_for_events(engine_time deadline) noexcept {
    polled_.clear();
    indices_.clear();
    polled_.push_back({event_fd_, POLLIN, 0});
    polled_.push_back({retry_fd_, POLLIN, 0}); // Left out while it is -1.
    for (std::uint32_t index = waiting_.first; index != table::none; index = table_[index].next) {
        polled_.push_back({table_[index].fd, static_cast<short>(table_[index].events), 0});
        indices_.push_back(index);
    }
    timespec limit = {};
    if (deadline != never && deadline != 0) {
        const engine_time left = std::max(deadline - now(), engine_time{0});
        limit = {left / 1'000'000'000, left % 1'000'000'000};
    }
    const int count =
        ::ppoll(polled_.data(), polled_.size(), deadline == never ? nullptr : &limit, nullptr);
    if (count <= 0) {
        return count < 0 ? -errno : 0;
    }
    for (std::size_t position = 0; position < indices_.size(); ++position) {
        if (polled_[position + 2].revents != 0) {
            make_runnable(indices_[position]);
        }
    }
    if (polled_[1].revents != 0) {
        take_retry();
    }
    if (polled_[0].revents != 0) {
        take_wake();
    }
    return count;
}

int blocking_engine::pollable_descriptor() {
    if (mirror_fd_ < 0) {
        mirror_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
        if (mirror_fd_ < 0) {
            const int error = errno;
            throw_error(errno_code(error), "epoll_create1", limit_help(error));
        }
        mirror();
    }
    return mirror_fd_;
}

void blocking_engine::mirror() noexcept {
    for (const int fd : mirrored_) {
        ::epoll_ctl(mirror_fd_, EPOLL_CTL_DEL, fd, nullptr);
        asked_[static_cast<std::size_t>(fd)] = 0;
    }
    mirrored_.clear();
    const auto add = [&](int fd, std::uint32_t events) {
        if (fd < 0) {
            return;
        }
        const auto index = static_cast<std::size_t>(fd);
        if (index >= asked_.size()) {
            asked_.resize(index + 1);
        }
        epoll_event event = {};
        event.events = asked_[index] |= events;
        if (::epoll_ctl(mirror_fd_, EPOLL_CTL_ADD, fd, &event) == 0) {
            mirrored_.push_back(fd);
        } else {
            ::epoll_ctl(mirror_fd_, EPOLL_CTL_MOD, fd, &event); // A second one on it.
        }
    };
    add(event_fd_, POLLIN);
    add(retry_fd_, POLLIN);
    for (std::uint32_t index = waiting_.first; index != table::none; index = table_[index].next) {
        add(table_[index].fd, table_[index].events);
    }
}

} // namespace

std::unique_ptr<engine> make_blocking_engine(const engine_options& options, std::string reason) {
    return std::make_unique<blocking_engine>(options, std::move(reason));
}

} // namespace gyre::inline v0::detail
