#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace gyre::inline v0 {

/// An optional ability of the kernel ring. gyre uses each where the kernel has it and works
/// without.
enum class feature : std::uint8_t {
    submit_all,      ///< 5.18. A bad entry does not stop its batch.
    coop_taskrun,    ///< 5.19. Completions interrupt no running thread.
    single_issuer,   ///< 6.0. One thread submits.
    defer_taskrun,   ///< 6.1. Completions are processed when the owner enters.
    registered_ring, ///< 5.18. The ring's descriptor is looked up once.
    absolute_timer,  ///< 6.12. A wait takes a point in time instead of a duration.
    message_wake,    ///< 6.13. Another thread wakes the ring without a descriptor.
    no_iowait,       ///< 6.15. An idle wait does not count as waiting for a disk.
    poll_first,      ///< 5.19. A receive known to find nothing waits without trying.
    send_address,    ///< 6.1. A send names its receiver without a message header.
};
inline constexpr unsigned feature_count = 10;

/// The name by which `GYRE_DISABLE` and reports call a feature, e.g. "defer_taskrun".
std::string_view feature_name(feature which) noexcept;

/// A set of features. A plain value.
class feature_set {
public:
    constexpr feature_set() noexcept = default;
    constexpr feature_set(std::initializer_list<feature> members) noexcept {
        for (feature member : members) {
            insert(member);
        }
    }
    static constexpr feature_set all() noexcept {
        feature_set everything;
        everything.bits_ = (1U << feature_count) - 1;
        return everything;
    }

    constexpr bool contains(feature which) const noexcept { return (bits_ & bit(which)) != 0; }
    constexpr void insert(feature which) noexcept { bits_ |= bit(which); }
    constexpr void erase(feature which) noexcept { bits_ &= ~bit(which); }
    constexpr bool empty() const noexcept { return bits_ == 0; }

    friend constexpr feature_set operator|(feature_set left, feature_set right) noexcept {
        left.bits_ |= right.bits_;
        return left;
    }
    friend constexpr bool operator==(feature_set, feature_set) noexcept = default;

private:
    static constexpr std::uint32_t bit(feature which) noexcept {
        return 1U << static_cast<unsigned>(which);
    }
    std::uint32_t bits_ = 0;
};

/// Reads a list as `GYRE_DISABLE` holds it: names separated by commas, or "all". A name that is no
/// feature is left out and logged as a warning.
feature_set parse_features(std::string_view list) noexcept;

} // namespace gyre::inline v0
