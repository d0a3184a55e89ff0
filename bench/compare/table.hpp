// The figures of a comparison as text: a table for each case.
#pragma once

#include "compare/results.hpp"

#include <string>

namespace bench::compare {

/// The machine and the options, one to a line.
std::string heading(const results& found);

/// For a terminal.
std::string table(const results& found, const cell& one);

/// For the page.
std::string markdown_table(const results& found, const cell& one);

} // namespace bench::compare
