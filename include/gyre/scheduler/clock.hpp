#pragma once

#include <chrono>
#include <cstdint>
#include <ratio>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

/// The clock by which gyre waits. Steady: CLOCK_MONOTONIC, inside a scheduler read through its
/// engine.
struct clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<clock>;
    static constexpr bool is_steady = true;

    static time_point now() noexcept;
};

namespace detail {

/// A duration in whole nanoseconds, not less than it; what is longer than these can say becomes the
/// longest, so that `hours::max()` is a limit that never passes.
template <class Rep, class Period>
constexpr std::int64_t nanoseconds_of(std::chrono::duration<Rep, Period> time) noexcept {
    using units = std::ratio_divide<Period, std::nano>;
    if constexpr (std::is_integral_v<Rep> && units::den == 1) {
        constexpr std::int64_t most = std::chrono::nanoseconds::max().count() / units::num;
        if (std::cmp_greater(time.count(), most)) {
            return std::chrono::nanoseconds::max().count();
        }
        if (std::cmp_less(time.count(), -most)) {
            return std::chrono::nanoseconds::min().count();
        }
        return static_cast<std::int64_t>(time.count()) * units::num;
    }
    using wide = std::chrono::duration<long double, std::nano>;
    if (wide(time) >= wide(std::chrono::nanoseconds::max())) {
        return std::chrono::nanoseconds::max().count();
    }
    if (wide(time) <= wide(std::chrono::nanoseconds::min())) {
        return std::chrono::nanoseconds::min().count();
    }
    return std::chrono::ceil<std::chrono::nanoseconds>(time).count();
}

} // namespace detail
} // namespace gyre::inline v0
