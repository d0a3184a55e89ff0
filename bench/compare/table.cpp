#include "compare/table.hpp"

#include "compare/results.hpp"
#include "support/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace bench::compare {

namespace {

using line = std::vector<std::string>;

std::string with_spread(const series& one, figure which) {
    summary found = one.spread(which);
    std::string median = shown(one.median(which));
    if (taken(one.of(which)).size() < 2) {
        return median;
    }
    return median + " (" + shown(found.low) + " to " + shown(found.high) + ")";
}

// What part of its processor's time the server ran. Well below all of it, somebody else was slower.
std::string busy(const series& one) {
    double part = one.median(figure::cpu) * one.median(figure::rate) / 1e6;
    return std::isfinite(part) ? std::to_string(std::lround(part * 100)) + " %" : "-";
}

const line& columns() {
    static const line names = {
        "server",
        "CPU us/request",
        "requests/s",
        "MB/s",
        "busy",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "entries",
        "peak MiB",
    };
    return names;
}

line figures_of(const workload& what, const series& one) {
    return {
        with_spread(one, figure::cpu),
        with_spread(one, figure::rate),
        shown(one.median(figure::rate) * what.size / 1e6),
        busy(one),
        shown(one.median(figure::p50)),
        shown(one.median(figure::p99)),
        shown(one.median(figure::p999)),
        shown(one.median(figure::entries)),
        shown(one.median(figure::memory) / 1024),
    };
}

// The lines of a case: a name and its figures, or a name and a sentence.
struct table_text {
    std::vector<line> lines;
    std::vector<std::string> remarks;
};

table_text text_of(const results& found, const cell& one) {
    table_text made;
    for (const server_row& row : found.rows) {
        const series* measured = one.find(row.key);
        if (measured == nullptr) {
            continue;
        }
        line next = {row.name};
        line values = figures_of(one.what, *measured);
        next.insert(next.end(), values.begin(), values.end());
        made.lines.push_back(std::move(next));
        if (!measured->failures.empty()) {
            made.remarks.push_back(
                row.name + " FAILED " + std::to_string(measured->failures.size()) +
                (measured->failures.size() == 1 ? " time: " : " times, the first time: ") +
                measured->failures.front()
            );
        }
    }
    return made;
}

std::string padded(const std::string& text, std::size_t width, bool to_the_left) {
    std::size_t blanks = width - std::min(width, text.size());
    return to_the_left ? text + std::string(blanks, ' ') : std::string(blanks, ' ') + text;
}

std::string note(const results& found) {
    return found.rounds > 1 ? "medians (quartiles) of " + std::to_string(found.rounds) + " rounds"
                            : std::string("one round");
}

} // namespace

std::string heading(const results& found) {
    std::string text = "date      " + found.date + ", gyre " + found.revision + "\n";
    text += "machine   " + found.processor + ", " + std::to_string(found.processors) +
            " processors; " + found.pinning + "\n";
    text += "kernel    " + found.kernel + ", load average " + found.load_average + "\n";
    text += "compiler  " + found.compiler + ", " + found.flags + "\n";
    text += "turns     " + std::to_string(found.rounds) + " of " + shown(found.duration) +
            " s for each server and case, after " + shown(found.warm_up) + " s of warming up\n";
    for (const server_row& row : found.rows) {
        std::string name = padded(row.name, 18, true);
        text += "  " + name +
                (row.skipped.empty() ? row.command + "  (" + row.built_on + ")"
                                     : "skipped: " + row.skipped) +
                "\n";
    }
    return text;
}

std::string table(const results& found, const cell& one) {
    table_text made = text_of(found, one);
    std::vector<line> lines = {columns()};
    lines.insert(lines.end(), made.lines.begin(), made.lines.end());
    std::vector<std::size_t> widths(columns().size());
    for (const line& each : lines) {
        for (std::size_t column = 0; column < each.size(); ++column) {
            widths[column] = std::max(widths[column], each[column].size());
        }
    }
    std::string text = one.what.name() + ": " + note(found) + "\n";
    for (const line& each : lines) {
        for (std::size_t column = 0; column < each.size(); ++column) {
            text += "  " + padded(each[column], widths[column], column == 0);
        }
        text += "\n";
    }
    for (const std::string& remark : made.remarks) {
        text += "  " + remark + "\n";
    }
    return text;
}

std::string markdown_table(const results& found, const cell& one) {
    table_text made = text_of(found, one);
    auto row = [](const line& words) {
        std::string text = "|";
        for (const std::string& word : words) {
            text += " " + word + " |";
        }
        return text + "\n";
    };
    std::string text = row(columns());
    for (std::size_t column = 0; column < columns().size(); ++column) {
        text += column == 0 ? "|---|" : "---:|";
    }
    text += "\n";
    for (const line& each : made.lines) {
        text += row(each);
    }
    for (const std::string& remark : made.remarks) {
        text += "\n" + remark + ".\n";
    }
    return text;
}

} // namespace bench::compare
