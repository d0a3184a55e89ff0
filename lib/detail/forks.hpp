#pragma once

#include <atomic>
#include <cstdint>

namespace gyre::inline v0::detail {

/// Grows in the child each time a process forks, from the first `count_forks` on: whoever keeps
/// what it was when it began notices that it was inherited.
extern constinit std::atomic<std::uint64_t> forks;

void count_forks() noexcept;

} // namespace gyre::inline v0::detail
