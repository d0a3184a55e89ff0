// A comparison as a page: where gyre wins and loses, in words that are made of the figures.
#pragma once

#include "compare/results.hpp"

#include <string>

namespace bench::compare {

/// The page in Markdown. Its plots are called `stem`-NAME.svg, its figures `stem`.json.
std::string report(const results& found, const std::string& stem);

} // namespace bench::compare
