#pragma once

#include <cstdint>

namespace differential {

/// One step of a good mixer: the pattern of the bytes and the random numbers come from it.
constexpr std::uint64_t mixed(std::uint64_t value) noexcept {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

/// Random numbers that are the same with every compiler and library (splitmix64), so that a seed
/// says all about a program.
class random {
public:
    explicit random(std::uint64_t seed) noexcept : state_(mixed(seed)) {}

    std::uint64_t next() noexcept { return mixed(state_++); }
    /// From 0 to `bound - 1`.
    std::uint32_t below(std::uint32_t bound) noexcept {
        return static_cast<std::uint32_t>((next() >> 32) * bound >> 32);
    }
    std::uint32_t between(std::uint32_t first, std::uint32_t last) noexcept {
        return first + below(last - first + 1);
    }
    bool one_in(std::uint32_t count) noexcept { return below(count) == 0; }
    /// From 1 to `largest`: each order of magnitude as often as the next.
    std::uint32_t size(std::uint32_t largest) noexcept {
        std::uint32_t bits = 0;
        while (bits < 31 && (largest >> bits) > 1) {
            ++bits;
        }
        const std::uint32_t limit = std::uint32_t{1} << between(0, bits);
        const std::uint32_t size = limit + below(limit);
        return size < largest ? size : largest;
    }
    template <class Value, std::size_t Count>
    Value one_of(const Value (&values)[Count]) noexcept {
        return values[below(Count)];
    }

private:
    std::uint64_t state_;
};

} // namespace differential
