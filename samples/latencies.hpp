// latencies.hpp: how often which duration occurred, for percentiles.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace samples {

/// Counts durations in buckets that are as wide as 1/64 of what they count, so that recording costs
/// no memory and a percentile is off by less than 2 %.
class latencies {
public:
    void record(std::chrono::nanoseconds duration) noexcept {
        const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0));
        ++counts_[bucket(value)];
        ++total_;
        max_ = std::max(max_, value);
    }

    /// What `fraction` of all durations do not exceed.
    std::chrono::nanoseconds percentile(double fraction) const noexcept {
        const auto rank =
            static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(total_)));
        std::uint64_t seen = 0;
        for (std::size_t index = 0; index < counts_.size(); ++index) {
            seen += counts_[index];
            if (seen != 0 && seen >= rank) {
                return std::chrono::nanoseconds(std::min(last_of(index), max_));
            }
        }
        return std::chrono::nanoseconds(0);
    }
    std::chrono::nanoseconds max() const noexcept { return std::chrono::nanoseconds(max_); }
    std::uint64_t total() const noexcept { return total_; }

private:
    static constexpr unsigned precision = 6;
    static constexpr std::size_t width = std::size_t{1} << precision;

    // The highest bit says which row of `width` buckets, the bits below it which bucket in the row.
    static std::size_t bucket(std::uint64_t value) noexcept {
        const auto bits = static_cast<unsigned>(std::bit_width(value));
        const unsigned shift = bits > precision + 1 ? bits - precision - 1 : 0;
        return shift * width + static_cast<std::size_t>(value >> shift);
    }
    static std::uint64_t last_of(std::size_t index) noexcept {
        const std::size_t shift = index < 2 * width ? 0 : index / width - 1;
        const std::uint64_t first = index - shift * width;
        return (first << shift) + ((std::uint64_t{1} << shift) - 1);
    }

    std::array<std::uint64_t, (64 - precision) * width + width> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
};

} // namespace samples
