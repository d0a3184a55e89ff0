// What ipc_bench measures: for each pattern and size, a series for each wire and each way to use it,
// with a value per round. Kept as JSON, from which the tables, the plots and the section are made.
#pragma once

#include "compare/results.hpp"
#include "ipc/sides.hpp"
#include "ipc/wires.hpp"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::ipc {

struct way_kind {
    const char* key;
    const char* name;
};

inline constexpr std::array<way_kind, 3> ways = {{
    {.key = "by-hand", .name = "plain calls"},
    {.key = "gyre-blocking", .name = "gyre blocking"},
    {.key = "gyre-uring", .name = "gyre uring"},
}};

inline const way_kind& kind_of(way which) {
    return ways.at(static_cast<std::size_t>(which));
}

/// One wire used in one way. `all.of(figure::cpu)` is of both processes together.
struct row {
    wire over = wire::unix_stream;
    way how = way::by_hand;
    compare::series all = {};
    std::vector<double> first_cpu = {};
    std::vector<double> second_cpu = {};

    [[nodiscard]] std::string name() const;
};

struct cell {
    pattern what = pattern::round_trip;
    std::size_t size = 0;
    std::vector<row> rows = {};

    [[nodiscard]] std::string name() const;
    [[nodiscard]] const row* find(wire over, way how) const;
    /// What its rows are judged by.
    [[nodiscard]] compare::figure judged() const;
};

/// "64 B", "16 KiB", "1 MiB"
std::string size_name(std::size_t size);

struct results {
    /// Where and how it was measured: a name and what there is to say.
    std::vector<std::pair<std::string, std::string>> facts;
    unsigned rounds = 0;
    std::vector<cell> cells;
};

std::string to_json(const results& found);
results from_json(std::string_view text);

} // namespace bench::ipc
