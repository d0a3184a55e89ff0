#include "ring/limits.hpp"
#include "ring/software.hpp"

#include <gyre/error.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLPRI == POLLPRI);
static_assert(EPOLLERR == POLLERR && EPOLLHUP == POLLHUP && EPOLLRDHUP == POLLRDHUP);

constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT;

// In epoll_event.data, where a descriptor has its number.
constexpr std::uint64_t wake_tag = ~std::uint64_t{0};
constexpr std::uint64_t retry_tag = wake_tag - 1;

// Completions that are there keep the engine from asking for events, for this many entries at most:
// a peer that always has more must not starve the others.
constexpr unsigned entries_without_events_max = 8;

constexpr std::uint8_t unheeded_max = 16;

// The direction whose readiness `ready` remembers, unless the number is in doubt; 0 for what is
// tried and watched anew each time.
std::uint32_t direction_of(const submission& entry) noexcept {
    switch (entry.opcode) {
    case uapi::op_recv:
    case uapi::op_recvmsg:
        return (entry.operation_flags & (MSG_ERRQUEUE | MSG_OOB)) != 0 ? 0U : EPOLLIN;
    case uapi::op_accept:
        return EPOLLIN;
    case uapi::op_send:
    case uapi::op_sendmsg:
        return EPOLLOUT;
    default:
        return 0;
    }
}

// Whether it is to end with EAGAIN where others wait.
bool must_not_wait(const submission& entry) noexcept {
    return entry.opcode == uapi::op_accept ? (entry.ioprio & uapi::accept_dontwait) != 0
                                           : (entry.operation_flags & MSG_DONTWAIT) != 0;
}

// Descriptors are registered once, edge-triggered, for each direction that something ever waited
// for, and stay so until they are closed. An edge after the last EAGAIN is remembered; without one
// nothing is tried. So a request and its reply cost three system calls: the wait, the receive, the
// send.
class epoll_engine final : public software_engine {
public:
    epoll_engine(const engine_options& options, std::string reason);
    ~epoll_engine() override { ::close(epoll_fd_); }

    int enter(unsigned wanted, engine_time deadline) noexcept override;
    void look_again(int fd) noexcept override;
    void doubt(int fd) noexcept override;
    int pollable_descriptor() override { return epoll_fd_; }

private:
    struct descriptor_state {
        table::list waiting;
        std::uint32_t interest = 0; // What it is registered for; 0: it is not.
        // The part of it that is surely of the file that has the number now: what the raw layer has
        // registered may be of one that its owner has closed since without a word.
        std::uint32_t trusted = 0;
        std::uint32_t ready = 0;  // Directions in which there was an edge since the last EAGAIN.
        std::uint32_t closes = 0; // What `closes_of` said at the registration.
        // A receive that does not fill its buffer has emptied the socket.
        bool drains = false;
        std::uint8_t unheeded = 0; // Events in a row that nothing waited for or came to look at.
    };

    descriptor_state& state_of(int fd);
    int control(int operation, int fd, std::uint32_t events, std::uint64_t data) noexcept;
    int wait_for_events(engine_time deadline) noexcept;
    void take_events(int count) noexcept;

    void look() noexcept override { take_events(wait_for_events(0)); }
    bool may_be_ready(table::item& which) noexcept override;
    table::list& waiting_for(int fd) noexcept override { return state_of(fd).waiting; }
    int watch(table::item& which) noexcept override;
    void tried(const table::item& which, std::int32_t result) noexcept override;
    void unwatch(int fd) noexcept override;
    int watch_retries() noexcept override {
        return control(EPOLL_CTL_ADD, retry_fd_, EPOLLIN, retry_tag);
    }

    int epoll_fd_ = -1;
    bool has_nanoseconds_ = true; // epoll_pwait2(2), 5.11.
    unsigned entries_without_events_ = 0;
    std::vector<descriptor_state> states_; // By number.
    descriptor_state invalid_;             // Of numbers below 0.
    std::array<epoll_event, 256> events_;
};

epoll_engine::epoll_engine(const engine_options& options, std::string reason)
    : software_engine(engine_kind::epoll, options, std::move(reason)) {
    epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
    const int error = epoll_fd_ < 0 ? errno : -control(EPOLL_CTL_ADD, event_fd_, EPOLLIN, wake_tag);
    if (error != 0) {
        if (epoll_fd_ >= 0) {
            ::close(epoll_fd_);
        }
        throw_error(errno_code(error), "epoll_create1", limit_help(error));
    }
}

int epoll_engine::enter(unsigned wanted, engine_time deadline) noexcept {
    const int taken = take();
    run();
    if (completions.waiting() != 0 && ++entries_without_events_ < entries_without_events_max) {
        return taken;
    }
    entries_without_events_ = 0;
    for (;;) {
        const bool waits = wanted != 0 && completions.waiting() == 0;
        const int count = wait_for_events(waits ? deadline : 0);
        if (count < 0) {
            return taken != 0 ? taken : count;
        }
        take_events(count);
        run();
        if (!waits || completions.waiting() != 0) {
            return taken;
        }
        if (count == 0) {
            return taken != 0 ? taken : -ETIME;
        }
        // Woken for nothing: the bytes were taken by another process, a connection was given up.
    }
}

// A deadline that has passed does not wait.
int epoll_engine::wait_for_events(engine_time deadline) noexcept {
    const auto capacity = static_cast<int>(events_.size());
    const engine_time left =
        deadline == never || deadline == 0 ? deadline : std::max(deadline - now(), engine_time{0});
    if (has_nanoseconds_ && left != never && left != 0) {
        const timespec limit = {left / 1'000'000'000, left % 1'000'000'000};
        const long count =
            ::syscall(SYS_epoll_pwait2, epoll_fd_, events_.data(), capacity, &limit, nullptr, 0);
        if (count >= 0) {
            return static_cast<int>(count);
        }
        if (errno != ENOSYS && errno != EPERM) {
            return -errno;
        }
        has_nanoseconds_ = false;
    }
    // Rounded up: late by up to a millisecond, never early.
    const engine_time milliseconds =
        left == never ? -1 : std::min((left + 999'999) / 1'000'000, engine_time{INT_MAX});
    const int count =
        ::epoll_wait(epoll_fd_, events_.data(), capacity, static_cast<int>(milliseconds));
    return count < 0 ? -errno : count;
}

// An event may be of an open file that had the number before: its owner closed it by hand, and a
// duplicate lives on. Then something is tried in vain.
void epoll_engine::take_events(int count) noexcept {
    for (int position = 0; position < count; ++position) { // A negative count is an error.
        const epoll_event& event = events_[static_cast<std::size_t>(position)];
        if (event.data.u64 == wake_tag) {
            take_wake();
            continue;
        }
        if (event.data.u64 == retry_tag) {
            take_retry();
            continue;
        }
        descriptor_state& state = states_[event.data.u64];
        std::uint32_t ready = event.events;
        if ((ready & (EPOLLERR | EPOLLHUP)) != 0) {
            ready |= both_ways;
        }
        if ((ready & EPOLLRDHUP) != 0) {
            ready |= EPOLLIN;
        }
        if ((ready & (EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI)) != 0) {
            // An end or an error behind the last byte makes no edge of its own, and a receive stops
            // in front of an urgent byte.
            state.drains = false;
        }
        state.ready |= ready & both_ways;
        if (state.waiting.empty() && ++state.unheeded == unheeded_max) {
            // It may have moved to another scheduler, and would wake this one for ever.
            unwatch(static_cast<int>(event.data.u64));
            continue;
        }
        for (std::uint32_t index = state.waiting.first; index != table::none;) {
            const std::uint32_t next = table_[index].next;
            if ((table_[index].events & ready) != 0) {
                make_runnable(index);
            }
            index = next;
        }
    }
}

epoll_engine::descriptor_state& epoll_engine::state_of(int fd) {
    if (fd < 0) {
        return invalid_;
    }
    const auto index = static_cast<std::size_t>(fd);
    if (index >= states_.size()) {
        states_.resize(std::max(index + 1, states_.size() * 2));
    }
    descriptor_state& state = states_[index];
    if (state.interest != 0 && state.closes != closes_of(fd)) [[unlikely]] {
        // Closed by somebody else's hand: by another thread, or while no scheduler ran.
        state.interest = 0;
        state.trusted = 0;
    }
    return state;
}

void epoll_engine::look_again(int fd) noexcept {
    state_of(fd).ready |= both_ways;
    software_engine::look_again(fd);
}

void epoll_engine::doubt(int fd) noexcept {
    software_engine::doubt(fd);
    state_of(fd).trusted = 0;
}

bool epoll_engine::may_be_ready(table::item& which) noexcept {
    const std::uint32_t direction = direction_of(which.entry);
    if (direction == 0 || must_not_wait(which.entry)) {
        return true;
    }
    descriptor_state& state = state_of(which.entry.fd);
    state.unheeded = 0;
    if ((state.trusted & direction) == 0 || (state.ready & direction) != 0) {
        return true;
    }
    which.fd = which.entry.fd;
    which.events = direction;
    return false;
}

int epoll_engine::watch(table::item& which) noexcept {
    descriptor_state& state = state_of(which.fd);
    const std::uint32_t wanted =
        (which.events & EPOLLIN) != 0 ? which.events | EPOLLRDHUP | EPOLLPRI : which.events;
    const bool trusts = direction_of(which.entry) != 0 && !is_doubted(which.fd);
    if (!trusts || (state.trusted & wanted) != wanted) {
        // Registering says at once what is ready already.
        const std::uint32_t interest = state.interest | wanted;
        const auto data = static_cast<std::uint32_t>(which.fd);
        const bool added = state.interest == 0;
        int error = control(added ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, which.fd, interest, data);
        if (error == -ENOENT || error == -EEXIST) {
            error = control(added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, which.fd, interest, data);
        }
        if (error != 0) {
            return error;
        }
        if (trusts && (wanted & ~state.trusted & EPOLLIN) != 0) {
            // Other sockets stop between two messages, and in front of a passed descriptor.
            int protocol = 0;
            socklen_t size = sizeof protocol;
            state.drains = ::getsockopt(which.fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
                           protocol == IPPROTO_TCP;
        }
        state.interest = interest;
        state.trusted |= trusts ? wanted : 0;
        state.closes = closes_of(which.fd);
    }
    state.unheeded = 0;
    state.ready &= ~which.events;
    return 0;
}

void epoll_engine::tried(const table::item& which, std::int32_t result) noexcept {
    const submission& entry = which.entry;
    switch (entry.opcode) {
    case uapi::op_recv:
        if (result > 0 && static_cast<std::uint32_t>(result) < entry.length &&
            (entry.operation_flags & (MSG_PEEK | MSG_OOB)) == 0) {
            descriptor_state& state = state_of(entry.fd);
            if (state.drains && (state.trusted & EPOLLIN) != 0) {
                state.ready &= ~std::uint32_t{EPOLLIN};
            }
        }
        break;
    case uapi::op_accept:
    case uapi::op_openat:
    case uapi::op_openat2:
    case uapi::op_socket:
        if (result >= 0) { // Whatever had this number is gone.
            unwatch(result);
            trust(result);
        }
        break;
    default:
        break;
    }
}

// Before the close: a duplicate elsewhere would keep the registration.
void epoll_engine::unwatch(int fd) noexcept {
    if (fd < 0 || static_cast<std::size_t>(fd) >= states_.size()) {
        return;
    }
    descriptor_state& state = states_[static_cast<std::size_t>(fd)];
    if (state.interest != 0) {
        control(EPOLL_CTL_DEL, fd, 0, 0);
        state.interest = 0;
        state.trusted = 0;
    }
}

int epoll_engine::control(
    int operation, int fd, std::uint32_t events, std::uint64_t data
) noexcept {
    epoll_event event = {};
    event.events = events | EPOLLET;
    event.data.u64 = data;
    return ::epoll_ctl(epoll_fd_, operation, fd, &event) == 0 ? 0 : -errno;
}

} // namespace

std::unique_ptr<engine> make_epoll_engine(const engine_options& options, std::string reason) {
    return std::make_unique<epoll_engine>(options, std::move(reason));
}

} // namespace gyre::inline v0::detail
