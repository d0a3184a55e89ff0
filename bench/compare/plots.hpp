// The figures of a comparison as plots: a panel for each case, a bar or a dot for each server.
#pragma once

#include "compare/results.hpp"

#include <string>
#include <vector>

namespace bench::compare {

struct plot {
    std::string name;  // "cpu": what its file is called after
    std::string title; // what a reader who cannot see it is told
    std::string svg;
};

std::vector<plot> plots(const results& found);

} // namespace bench::compare
