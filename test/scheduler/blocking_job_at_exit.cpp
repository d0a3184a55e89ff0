// A process ends although a job of its pool never does, and its idle threads are joined.

#include "scheduler/blocking_pool.hpp"

#include <atomic>
#include <cstdio>
#include <thread>

#include <unistd.h>

namespace {

using gyre::detail::blocking_job;

std::atomic<int> begun{0};

struct stuck_job final : blocking_job {
    stuck_job() noexcept
        : blocking_job([](blocking_job&) noexcept {
              ++begun;
              for (;;) {
                  ::pause();
              }
          }) {}
};
struct short_job final : blocking_job {
    short_job() noexcept : blocking_job([](blocking_job&) noexcept { ++begun; }) {}
};

stuck_job stuck;
short_job short_one;

} // namespace

int main() {
    auto& pool = gyre::detail::blocking_pool::of_process();
    if (pool.submit(stuck) != 0 || pool.submit(short_one) != 0) {
        return 1;
    }
    while (begun != 2) {
        std::this_thread::yield();
    }
    std::printf("ends with %zu threads\n", pool.threads());
    return 42;
}
