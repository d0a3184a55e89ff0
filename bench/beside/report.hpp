// The figures of a sample beside a well-known server, as tables and as a section of a page.
#pragma once

#include "beside/results.hpp"

#include <string>

namespace bench::beside {

/// What a section says that is not made of figures.
struct wording {
    std::string name;     ///< Of the benchmark: "kv"
    std::string title;    ///< Of the section.
    std::string question; ///< What is asked, a sentence.
    std::string remarks;  ///< How it was measured, some sentences.
};

/// How each of gyre's engines stands beside the other server, in words made of the figures.
std::string answer(const results& found);

/// For a terminal.
std::string tables(const results& found);

/// In Markdown, without the marks around it. Its figures are in `stem`-NAME.json.
std::string section(const results& found, const wording& words, const std::string& stem);

} // namespace bench::beside
