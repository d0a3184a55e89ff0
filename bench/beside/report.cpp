#include "beside/report.hpp"

#include "beside/results.hpp"
#include "compare/results.hpp"
#include "support/statistics.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace bench::beside {

namespace {

using compare::figure;
using compare::ratio;
using compare::series;
using compare::shown;

using line = std::vector<std::string>;

std::string decimal(double value) {
    std::array<char, 32> text = {};
    std::snprintf(text.data(), text.size(), "%.2f", value);
    return text.data();
}

std::string with_spread(const series& one, figure which) {
    const std::vector<double> values = taken(one.of(which));
    if (values.empty()) {
        return "-";
    }
    const summary spread = summarize(values);
    return values.size() < 2 ? shown(spread.median)
                             : shown(spread.median) + " (" + shown(spread.low) + " to " +
                                   shown(spread.high) + ")";
}

line heads() {
    return {"server", "CPU us/request", "requests/s", "busy", "p50 us", "p99 us", "peak MiB"};
}

line line_of(const compare::server_row& row, const series& one) {
    const double busy = one.median(figure::cpu) * one.median(figure::rate) / 1e4;
    return {
        row.name,
        with_spread(one, figure::cpu),
        with_spread(one, figure::rate),
        shown(busy) + " %",
        shown(one.median(figure::p50)),
        shown(one.median(figure::p99)),
        shown(one.median(figure::memory) / 1024),
    };
}

std::vector<line> lines_of(const results& found, const cell& one) {
    std::vector<line> lines = {heads()};
    for (const compare::server_row& row : found.rows) {
        if (const series* measured = one.find(row.key)) {
            lines.push_back(line_of(row, *measured));
        }
    }
    return lines;
}

// "1.04 times (worse in 1 case, level in 2, better in 1)"
std::string judged(const results& found, const std::string& ours, figure which) {
    const std::string& theirs = found.rows.back().key;
    std::array<std::size_t, 4> counts = {};
    std::vector<double> ratios;
    for (const cell& each : found.cells) {
        const series* first = each.find(ours);
        const series* second = each.find(theirs);
        if (first == nullptr || second == nullptr) {
            continue;
        }
        const ratio one = compare::compare(*first, *second, which);
        if (one.says != ratio::verdict::none) {
            ++counts.at(static_cast<std::size_t>(one.says));
            ratios.push_back(one.median);
        }
    }
    if (ratios.empty()) {
        return "nothing to compare";
    }
    const auto count_of = [&](ratio::verdict which_one) {
        return std::to_string(counts.at(static_cast<std::size_t>(which_one)));
    };
    return decimal(geometric_mean(ratios)) + " (worse in " + count_of(ratio::verdict::worse) +
           " of " + std::to_string(ratios.size()) + " cases, level in " +
           count_of(ratio::verdict::level) + ", better in " + count_of(ratio::verdict::better) +
           ")";
}

std::vector<std::string> failures_of(const results& found, const cell& one) {
    std::vector<std::string> made;
    for (const compare::server_row& row : found.rows) {
        const series* measured = one.find(row.key);
        if (measured != nullptr && !measured->failures.empty()) {
            made.push_back(
                row.name + " FAILED " + std::to_string(measured->failures.size()) +
                " times, at first: " + measured->failures.front()
            );
        }
    }
    return made;
}

} // namespace

std::string answer(const results& found) {
    std::string text;
    for (std::size_t index = 0; index + 1 < found.rows.size(); ++index) {
        const compare::server_row& row = found.rows[index];
        if (row.skipped.empty() && found.rows.back().skipped.empty()) {
            text += "- **" + row.name + "** beside " + found.rows.back().name +
                    ": CPU per request " + judged(found, row.key, figure::cpu) + "; throughput " +
                    judged(found, row.key, figure::rate) + ".\n";
        }
    }
    for (const compare::server_row& row : found.rows) {
        if (!row.skipped.empty()) {
            text += "- " + row.name + " was skipped: " + row.skipped + ".\n";
        }
    }
    return text;
}

std::string tables(const results& found) {
    std::string text;
    for (const cell& one : found.cells) {
        const std::vector<line> lines = lines_of(found, one);
        std::vector<std::size_t> widths(heads().size(), 0);
        for (const line& each : lines) {
            for (std::size_t index = 0; index < each.size(); ++index) {
                widths[index] = std::max(widths[index], each[index].size());
            }
        }
        text += one.name + "\n";
        for (const line& each : lines) {
            text += "  " + each[0] + std::string(widths[0] - each[0].size(), ' ');
            for (std::size_t index = 1; index < each.size(); ++index) {
                text += "  " + std::string(widths[index] - each[index].size(), ' ') + each[index];
            }
            text += "\n";
        }
        for (const std::string& failure : failures_of(found, one)) {
            text += "  " + failure + "\n";
        }
        text += "\n";
    }
    return text;
}

std::string section(const results& found, const wording& words, const std::string& stem) {
    const std::string file = stem + "-" + words.name + ".json";
    std::string text = "<!-- Made by ./dev bench " + words.name + " --from docs/" + file +
                       " --report docs/" + stem + ".md; what is changed here is lost. -->\n\n## " +
                       words.title + "\n\n" + words.question + "\n\n" + answer(found) +
                       "\nAbove 1 is gyre's loss, that of throughput is turned over; geometric "
                       "means over the cases. It is *worse* or *better*\nwhen the quartiles of the "
                       "rounds' ratios lie on one side of 1, else *level*.\n\n";
    for (const cell& one : found.cells) {
        text += "### " + one.name + "\n\n";
        bool first = true;
        for (const line& each : lines_of(found, one)) {
            text += "|";
            for (const std::string& word : each) {
                text += " " + word + " |";
            }
            text += "\n";
            if (std::exchange(first, false)) {
                text += "|---|";
                for (std::size_t index = 1; index < each.size(); ++index) {
                    text += "---:|";
                }
                text += "\n";
            }
        }
        for (const std::string& failure : failures_of(found, one)) {
            text += "\n" + failure + ".\n";
        }
        text += "\n";
    }
    text +=
        words.remarks + " The figures are in [" + file + "](" + file + ").\n\n| | |\n|---|---|\n";
    for (const auto& [name, said] : found.facts) {
        text.append("| ").append(name).append(" | ").append(said).append(" |\n");
    }
    for (const compare::server_row& row : found.rows) {
        if (row.skipped.empty()) {
            text += "| " + row.name + " | `" + row.command + "` (" + row.built_on + ") |\n";
        }
    }
    return text + "\n";
}

} // namespace bench::beside
