#include <gyre/io/signals.hpp>

#include <gyre/error.hpp>
#include <gyre/operation/op.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <span>

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
    std::memcpy(previous.data(), &before, sizeof before);
    return fd;
}

} // namespace

signals::signals(std::initializer_list<int> numbers)
    : descriptor(make_signalfd(numbers, previous_mask_), detail::kernel_domain()) {}

signals::~signals() {
    signalfd_siginfo dropped;
    while (::read(native_handle(), &dropped, sizeof dropped) == sizeof dropped) {
    }
    sigset_t before;
    std::memcpy(&before, previous_mask_.data(), sizeof before);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

task<result<int>> signals::next() {
    signalfd_siginfo arrived{};
    const auto taken =
        co_await op::read(native_handle(), std::as_writable_bytes(std::span(&arrived, 1)));
    if (!taken) {
        co_return taken.error();
    }
    co_return static_cast<int>(arrived.ssi_signo);
}

} // namespace gyre::inline v0
