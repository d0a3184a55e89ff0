#include <gyre/io/signals.hpp>

#include <gyre/error.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>
#include <gyre/scheduler/slot_table.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/task.hpp>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace gyre::inline v0 {

namespace {

static_assert(sizeof(sigset_t) == sizeof(std::array<std::uint64_t, 16>));

int make_signalfd(std::initializer_list<int> numbers, std::array<std::uint64_t, 16>& previous) {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int number : numbers) {
        if (sigaddset(&wanted, number) != 0) {
            throw_error(errno_code(EINVAL), "signals " + std::to_string(number), "no such signal");
        }
    }
    // Nonblocking, so that what is left can be dropped at the end.
    const int fd = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        throw_error(errno_code(errno), "signalfd");
    }
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &wanted, &before);
    // What this one has blocked, and what it will unblock: others keep theirs.
    for (const int number : numbers) {
        if (sigismember(&before, number) == 1) {
            sigdelset(&wanted, number);
        }
    }
    std::memcpy(previous.data(), &wanted, sizeof wanted);
    return fd;
}

// A poll that the descriptor knows of, so that its end ends the wait as well.
class readable : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<readable>;
    using result_type = result<int>;
    readable(int fd, detail::operation_id& in_flight) noexcept : in_flight_(&in_flight), fd_(fd) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_poll_add;
    static constexpr const char* name = "signal";
    static constexpr bool can_poll_first = false;
    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = fd_;
        entry.operation_flags = POLLIN;
    }
    static result_type take(std::int32_t result) noexcept {
        return result < 0 ? result_type(detail::error_of(result)) : result_type(result);
    }
    detail::operation_id* in_flight() const noexcept { return in_flight_; }

    detail::operation_id* in_flight_;
    int fd_;
};

} // namespace

signals::signals(std::initializer_list<int> numbers)
    : descriptor(make_signalfd(numbers, previous_mask_), detail::kernel_domain()) {}

signals::~signals() {
    signalfd_siginfo dropped;
    while (::read(native_handle(), &dropped, sizeof dropped) == sizeof dropped) {
    }
    sigset_t before;
    std::memcpy(&before, previous_mask_.data(), sizeof before);
    pthread_sigmask(SIG_UNBLOCK, &before, nullptr);
}

// Polls and then reads, rather than reading through the ring: a worker thread of the kernel that
// took over a read would give it up with EAGAIN.
task<result<int>> signals::next() {
    for (;;) {
        signalfd_siginfo arrived;
        if (::read(native_handle(), &arrived, sizeof arrived) == sizeof arrived) {
            co_return static_cast<int>(arrived.ssi_signo);
        }
        co_await or_return(readable(native_handle(), socket_.receiving));
    }
}

} // namespace gyre::inline v0
