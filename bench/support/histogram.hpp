// Counts of durations in buckets whose width grows with the value, so that a percentile is known to
// better than one percent whatever its magnitude, and recording costs a few instructions.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

class histogram {
public:
    void record(std::uint64_t value) noexcept {
        ++counts_[bucket(value)];
        ++total_;
        max_ = std::max(max_, value);
    }

    /// The least value that `fraction` of all recorded values do not exceed; 0 when there are none.
    [[nodiscard]] std::uint64_t percentile(double fraction) const noexcept {
        auto wanted = static_cast<std::uint64_t>(fraction * static_cast<double>(total_));
        wanted = std::clamp<std::uint64_t>(wanted, 1, std::max<std::uint64_t>(total_, 1));
        std::uint64_t seen = 0;
        for (std::size_t index = 0; index < counts_.size(); ++index) {
            seen += counts_[index];
            if (seen >= wanted) {
                return std::min(upper_bound(index), max_);
            }
        }
        return max_;
    }

    [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }

private:
    // Values below `linear` have a bucket each; every further power of two is cut into `linear` / 2
    // buckets of equal width.
    static constexpr unsigned linear_bits = 8;
    static constexpr std::uint64_t linear = std::uint64_t{1} << linear_bits;
    static constexpr std::size_t bucket_count = (64 - linear_bits) * (linear / 2) + linear;

    static std::size_t bucket(std::uint64_t value) noexcept {
        if (value < linear) {
            return value;
        }
        unsigned shift = static_cast<unsigned>(std::bit_width(value)) - linear_bits;
        return linear + (shift - 1) * (linear / 2) + ((value >> shift) - linear / 2);
    }

    static std::uint64_t upper_bound(std::size_t index) noexcept {
        if (index < linear) {
            return index;
        }
        std::uint64_t shift = (index - linear) / (linear / 2) + 1;
        std::uint64_t leading = (index - linear) % (linear / 2) + linear / 2;
        return ((leading + 1) << shift) - 1;
    }

    std::array<std::uint64_t, bucket_count> counts_ = {};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
};

} // namespace bench
