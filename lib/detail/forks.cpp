#include "detail/forks.hpp"

#include <atomic>
#include <cstdint>

#include <pthread.h>

namespace gyre::inline v0::detail {

constinit std::atomic<std::uint64_t> forks{0};

void count_forks() noexcept {
    static const int registered =
        pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
    static_cast<void>(registered);
}

} // namespace gyre::inline v0::detail
