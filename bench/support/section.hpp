// Sections of a page that one program writes and others leave alone.
#pragma once

#include <cstddef>
#include <string>

namespace bench {

inline std::string section_start(const std::string& name) {
    return "<!-- section " + name + " -->\n";
}

inline std::string section_end(const std::string& name) {
    return "<!-- end of section " + name + " -->\n";
}

/// A section of a page with its marks; empty if there is none.
inline std::string section_of(const std::string& page, const std::string& name) {
    const std::size_t start = page.find(section_start(name));
    const std::size_t end = page.find(section_end(name));
    if (start == std::string::npos || end == std::string::npos || end < start) {
        return "";
    }
    return page.substr(start, end + section_end(name).size() - start);
}

/// The page with `text` as that section: in place of the one it has, or at its end.
inline std::string
with_section(std::string page, const std::string& name, const std::string& text) {
    const std::string made = section_start(name) + text + section_end(name);
    const std::string before = section_of(page, name);
    if (before.empty()) {
        return page + (page.empty() || page.ends_with("\n\n") ? "" : "\n") + made;
    }
    return page.replace(page.find(before), before.size(), made);
}

} // namespace bench
