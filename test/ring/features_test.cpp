#include <gyre/ring/features.hpp>

#include "support/test.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

std::vector<std::string> lines;

void keep_line(gyre::log_level level, std::string_view text) noexcept {
    lines.push_back((level == gyre::log_level::warning ? "warning: " : "") + std::string(text));
}

// Collects what is logged while it lives.
struct log_catcher {
    log_catcher() {
        lines.clear();
        before = gyre::set_log_hook(&keep_line);
    }
    ~log_catcher() { gyre::set_log_hook(before); }
    gyre::log_hook before;
};

} // namespace

TEST_SUITE_BEGIN("ring/features");

TEST_CASE("every feature has a name of its own, and its name parses to itself") {
    std::set<std::string_view> names;
    for (unsigned index = 0; index < gyre::feature_count; ++index) {
        const auto which = static_cast<gyre::feature>(index);
        const std::string_view name = gyre::feature_name(which);
        INFO("feature: ", std::string(name));

        names.insert(name);
        CHECK(gyre::parse_features(name) == gyre::feature_set{which});
    }
    CHECK(names.size() == gyre::feature_count);
}

TEST_CASE("a feature set is what was inserted and not erased") {
    gyre::feature_set set;
    CHECK(set.empty());

    set.insert(gyre::feature::poll_first);
    set.insert(gyre::feature::no_iowait);
    set.erase(gyre::feature::poll_first);

    CHECK(set == gyre::feature_set{gyre::feature::no_iowait});
    CHECK(set.contains(gyre::feature::no_iowait));
    CHECK(!set.contains(gyre::feature::poll_first));
    CHECK(
        (set | gyre::feature_set{gyre::feature::poll_first}) ==
        gyre::feature_set{gyre::feature::poll_first, gyre::feature::no_iowait}
    );
}

TEST_CASE("parse_features reads a list, and all means every feature") {
    const log_catcher log;

    CHECK(gyre::parse_features("").empty());
    CHECK(gyre::parse_features(",,").empty());
    CHECK(
        gyre::parse_features("defer_taskrun,message_wake") ==
        gyre::feature_set{gyre::feature::defer_taskrun, gyre::feature::message_wake}
    );
    CHECK(gyre::parse_features("all") == gyre::feature_set::all());
    CHECK(gyre::parse_features("poll_first,all") == gyre::feature_set::all());
    CHECK(gyre::parse_features("all,poll_first") == gyre::feature_set::all());
    for (unsigned index = 0; index < gyre::feature_count; ++index) {
        CHECK(gyre::feature_set::all().contains(static_cast<gyre::feature>(index)));
    }
    CHECK(lines.empty());
}

TEST_CASE("parse_features leaves out a name that is no feature, and warns of it") {
    const log_catcher log;

    const gyre::feature_set parsed = gyre::parse_features("poll_first,teleport,no_iowait");

    CHECK(parsed == gyre::feature_set{gyre::feature::poll_first, gyre::feature::no_iowait});
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].starts_with("warning: GYRE_DISABLE"));
    CHECK(lines[0].find("\"teleport\"") != std::string::npos);
}

TEST_SUITE_END();
