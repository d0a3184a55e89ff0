#include "differential/watchdog.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <string_view>

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

namespace differential {

namespace {

// What the handler prints. It may be half written when the signal comes, never out of bounds.
struct line {
    std::array<char, 1024> text;
    std::atomic<std::size_t> size{0};

    void set(std::string_view from) noexcept {
        size.store(0, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        const std::size_t count = std::min(from.size(), text.size());
        std::copy_n(from.begin(), count, text.begin());
        std::atomic_signal_fence(std::memory_order_seq_cst);
        size.store(count, std::memory_order_relaxed);
    }
    void print() const noexcept {
        [[maybe_unused]] const ssize_t written =
            ::write(STDERR_FILENO, text.data(), size.load(std::memory_order_relaxed));
    }
};

line what_failed;
line what_ran;

void expired(int) {
    what_failed.print();
    what_ran.print();
    ::_exit(1);
}

void arm(int seconds) noexcept {
    itimerval when = {};
    when.it_value.tv_sec = seconds;
    ::setitimer(ITIMER_REAL, &when, nullptr);
}

} // namespace

watchdog::watchdog() {
    struct ::sigaction action = {};
    action.sa_handler = &expired;
    ::sigaction(SIGALRM, &action, nullptr);
}

watchdog::~watchdog() {
    stop();
    std::signal(SIGALRM, SIG_DFL);
}

void watchdog::start(std::string_view message, int seconds) {
    what_failed.set(message);
    what_ran.set({});
    arm(seconds);
}

void watchdog::note(std::string_view doing) noexcept {
    what_ran.set(doing);
}

void watchdog::stop() noexcept {
    arm(0);
}

} // namespace differential
