#pragma once

#include <chrono>

namespace gyre::inline v0 {

/// The clock by which gyre waits. Steady. Inside a scheduler it is the engine's clock, which for
/// the kernel is CLOCK_MONOTONIC and for a simulated world is virtual; outside it is
/// CLOCK_MONOTONIC.
struct clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<clock>;
    static constexpr bool is_steady = true;

    static time_point now() noexcept;
};

} // namespace gyre::inline v0
