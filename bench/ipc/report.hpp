// The figures of ipc_bench as tables, plots, and a section of a page.
#pragma once

#include "compare/plots.hpp"
#include "ipc/results.hpp"

#include <string>
#include <vector>

namespace bench::ipc {

/// Whether Unix stream sockets beat loopback TCP, case by case, in words made of the figures.
std::string answer(const results& found);

/// For a terminal.
std::string tables(const results& found);

std::vector<compare::plot> plots(const results& found);

/// In Markdown, without the marks around it. Its plots are called `stem`-ipc-NAME.svg, its figures
/// `stem`-ipc.json.
std::string section(const results& found, const std::string& stem);

} // namespace bench::ipc
