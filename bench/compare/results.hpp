// What compare_bench measures: a grid of cases, in each of them one series per server and figure,
// with a value per round. Kept as JSON, from which the tables, the plots and the page are made.
#pragma once

#include "support/statistics.hpp"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bench::compare {

struct workload {
    unsigned size = 0; // bytes in a message
    unsigned connections = 0;
    unsigned pipeline = 0; // requests on their way on one connection

    /// "64 B, 1000 connections, pipeline 16"
    [[nodiscard]] std::string name() const;

    friend bool operator==(const workload&, const workload&) = default;
};

/// The figures that are taken, in the order of `figures`.
enum class figure : std::size_t { cpu, rate, p50, p99, p999, entries, memory };

struct figure_kind {
    const char* key;
    const char* name;
    const char* unit;
    bool more_is_better;
};

inline constexpr std::array<figure_kind, 7> figures = {{
    {.key = "cpu_us", .name = "CPU per request", .unit = "us", .more_is_better = false},
    {.key = "requests_per_second", .name = "throughput", .unit = "/s", .more_is_better = true},
    {.key = "p50_us", .name = "p50", .unit = "us", .more_is_better = false},
    {.key = "p99_us", .name = "p99", .unit = "us", .more_is_better = false},
    {.key = "p999_us", .name = "p99.9", .unit = "us", .more_is_better = false},
    {.key = "entries", .name = "kernel entries per request", .unit = "", .more_is_better = false},
    {.key = "memory_kib", .name = "peak memory", .unit = "KiB", .more_is_better = false},
}};

inline const figure_kind& kind_of(figure which) {
    return figures.at(static_cast<std::size_t>(which));
}

/// One server under one workload. A round that failed has left figures that are no number.
struct series {
    std::string row; // the key of its server
    std::array<std::vector<double>, figures.size()> values;
    std::vector<std::string> failures;

    [[nodiscard]] const std::vector<double>& of(figure which) const {
        return values.at(static_cast<std::size_t>(which));
    }
    std::vector<double>& of(figure which) { return values.at(static_cast<std::size_t>(which)); }

    [[nodiscard]] bool has(figure which) const { return !taken(of(which)).empty(); }
    [[nodiscard]] summary spread(figure which) const { return summarize(taken(of(which))); }
    [[nodiscard]] double median(figure which) const; // not a number if there is none
};

struct cell {
    workload what;
    std::vector<series> rows;

    /// Null if this server was not measured.
    [[nodiscard]] const series* find(std::string_view row) const;
};

struct server_row {
    std::string key = {};      // "gyre-uring"
    std::string name = {};     // "gyre uring"
    std::string command = {};  // without its folder
    std::string built_on = {}; // "liburing 2.3"
    std::string skipped = {};  // why; empty if it was measured

    [[nodiscard]] bool is_gyre() const { return key.rfind("gyre-", 0) == 0; }
};

struct results {
    std::string date;
    std::string revision;
    std::string processor;
    unsigned processors = 0;
    std::string kernel;
    std::string compiler;
    std::string flags;
    std::string load_average;
    std::string pinning;
    unsigned rounds = 0;
    double warm_up = 0;  // seconds in each turn
    double duration = 0; // seconds measured in each turn
    double seconds = 0;  // all of it
    std::vector<server_row> rows;
    std::vector<cell> cells;

    /// Those that were measured.
    [[nodiscard]] std::vector<const server_row*> measured() const;
    [[nodiscard]] std::string name_of(std::string_view key) const;
};

std::string to_json(const results& found);
results from_json(std::string_view text);

/// How one server's figure stands beside another's, round by round. Above 1 is the loss of the
/// first, also where more is better.
struct ratio {
    double median = 0;
    double low = 0; // quartiles
    double high = 0;
    enum class verdict { none, worse, level, better } says = verdict::none;
};

ratio compare(const series& ours, const series& theirs, figure which);

// --- Words ---

/// Three digits or so; "-" for what is no number.
std::string shown(double value);

/// A figure in its unit: "12.3 us", "180588 /s", "5.1 MiB".
std::string shown(double value, figure which);

} // namespace bench::compare
