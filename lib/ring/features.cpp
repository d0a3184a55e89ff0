#include <gyre/ring/features.hpp>

#include <gyre/log.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace gyre::inline v0 {

namespace {

constexpr std::array<std::string_view, feature_count> names = {
    "submit_all",
    "coop_taskrun",
    "single_issuer",
    "defer_taskrun",
    "registered_ring",
    "absolute_timer",
    "message_wake",
    "no_iowait",
    "poll_first",
    "send_address",
};

} // namespace

std::string_view feature_name(feature which) noexcept {
    return names[static_cast<unsigned>(which)];
}

feature_set parse_features(std::string_view list) noexcept {
    feature_set parsed;
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        const std::string_view name = list.substr(0, comma);
        list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
        if (name.empty()) {
            continue;
        }
        if (name == "all") {
            parsed = feature_set::all();
            continue;
        }
        bool known = false;
        for (unsigned index = 0; index < feature_count; ++index) {
            if (names[index] == name) {
                parsed.insert(static_cast<feature>(index));
                known = true;
            }
        }
        if (!known) {
            log(log_level::warning,
                "GYRE_DISABLE: \"" + std::string(name) + "\" is no feature and was left out");
        }
    }
    return parsed;
}

} // namespace gyre::inline v0
