// What is measured where a sample stands beside a well-known server that does the same: for each case
// a series for each server, with a value per round. Kept as JSON, from which the section is made.
#pragma once

#include "compare/results.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::beside {

struct cell {
    std::string name; ///< "GET, pipeline 16"
    std::vector<compare::series> rows = {};

    /// Null if this server was not measured.
    [[nodiscard]] const compare::series* find(std::string_view row) const;
};

struct results {
    /// Where and how it was measured: a name and what there is to say.
    std::vector<std::pair<std::string, std::string>> facts;
    unsigned rounds = 0;
    /// gyre's engines, and last the server that they stand beside.
    std::vector<compare::server_row> rows;
    std::vector<cell> cells;
};

/// `benchmark` says of which one they are.
std::string to_json(const results& found, std::string_view benchmark);
results from_json(std::string_view text);

} // namespace bench::beside
