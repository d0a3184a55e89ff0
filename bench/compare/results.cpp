#include "compare/results.hpp"

#include "support/json.hpp"
#include "support/statistics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::compare {

namespace {

using json::list;
using json::plain;
using json::string_literal;

std::string joined(const std::vector<std::string>& texts, const char* between) {
    std::string whole;
    for (const std::string& text : texts) {
        whole += (whole.empty() ? "" : between) + text;
    }
    return whole;
}

std::string as_json(const server_row& row) {
    return "{\"key\":" + string_literal(row.key) + ",\"name\":" + string_literal(row.name) +
           ",\"command\":" + string_literal(row.command) +
           ",\"built_on\":" + string_literal(row.built_on) +
           ",\"skipped\":" + string_literal(row.skipped) + "}";
}

std::string as_json(const series& one) {
    std::string text = "{\"row\":" + string_literal(one.row);
    for (std::size_t index = 0; index < figures.size(); ++index) {
        text += ",\"" + std::string(figures.at(index).key) + "\":" + list(one.values.at(index));
    }
    std::vector<std::string> failures;
    failures.reserve(one.failures.size());
    for (const std::string& failure : one.failures) {
        failures.push_back(string_literal(failure));
    }
    return text + ",\"failures\":[" + joined(failures, ",") + "]}";
}

std::string as_json(const cell& one) {
    std::vector<std::string> rows;
    rows.reserve(one.rows.size());
    for (const series& each : one.rows) {
        rows.push_back("\n  " + as_json(each));
    }
    return "{\"size\":" + std::to_string(one.what.size) +
           ",\"connections\":" + std::to_string(one.what.connections) +
           ",\"pipeline\":" + std::to_string(one.what.pipeline) + ",\"rows\":[" +
           joined(rows, ",") + "]}";
}

unsigned whole(const json::value& value) {
    return static_cast<unsigned>(value.number());
}

series series_from(const json::value& value) {
    series one;
    one.row = value["row"].text();
    for (std::size_t index = 0; index < figures.size(); ++index) {
        one.values.at(index) = value[figures.at(index).key].numbers();
    }
    for (const json::value& failure : value["failures"].items()) {
        one.failures.push_back(failure.text());
    }
    return one;
}

} // namespace

std::string workload::name() const {
    std::string bytes =
        size % 1024 == 0 ? std::to_string(size / 1024) + " KiB" : std::to_string(size) + " B";
    return bytes + ", " + std::to_string(connections) +
           (connections == 1 ? " connection" : " connections") + ", pipeline " +
           std::to_string(pipeline);
}

double series::median(figure which) const {
    return has(which) ? spread(which).median : std::numeric_limits<double>::quiet_NaN();
}

const series* cell::find(std::string_view row) const {
    auto found = std::find_if(rows.begin(), rows.end(), [row](const series& each) {
        return each.row == row;
    });
    return found == rows.end() ? nullptr : &*found;
}

std::vector<const server_row*> results::measured() const {
    std::vector<const server_row*> found;
    for (const server_row& row : rows) {
        if (row.skipped.empty()) {
            found.push_back(&row);
        }
    }
    return found;
}

std::string results::name_of(std::string_view key) const {
    for (const server_row& row : rows) {
        if (row.key == key) {
            return row.name;
        }
    }
    return std::string(key);
}

std::string to_json(const results& found) {
    std::vector<std::string> rows;
    rows.reserve(found.rows.size());
    for (const server_row& row : found.rows) {
        rows.push_back("\n " + as_json(row));
    }
    std::vector<std::string> cells;
    cells.reserve(found.cells.size());
    for (const cell& each : found.cells) {
        cells.push_back("\n " + as_json(each));
    }
    return "{\"benchmark\":\"compare\",\"date\":" + string_literal(found.date) +
           ",\"revision\":" + string_literal(found.revision) +
           ",\"processor\":" + string_literal(found.processor) +
           ",\"processors\":" + std::to_string(found.processors) +
           ",\"kernel\":" + string_literal(found.kernel) +
           ",\"compiler\":" + string_literal(found.compiler) +
           ",\"flags\":" + string_literal(found.flags) +
           ",\"load_average\":" + string_literal(found.load_average) +
           ",\"pinning\":" + string_literal(found.pinning) +
           ",\"rounds\":" + std::to_string(found.rounds) + ",\"warm_up\":" + plain(found.warm_up) +
           ",\"duration\":" + plain(found.duration) + ",\"seconds\":" + plain(found.seconds) +
           ",\n\"rows\":[" + joined(rows, ",") + "],\n\"cells\":[" + joined(cells, ",") + "]}\n";
}

results from_json(std::string_view text) {
    json::value whole_text = json::value::parse(text);
    results found;
    found.date = whole_text["date"].text();
    found.revision = whole_text["revision"].text();
    found.processor = whole_text["processor"].text();
    found.processors = whole(whole_text["processors"]);
    found.kernel = whole_text["kernel"].text();
    found.compiler = whole_text["compiler"].text();
    found.flags = whole_text["flags"].text();
    found.load_average = whole_text["load_average"].text();
    found.pinning = whole_text["pinning"].text();
    found.rounds = whole(whole_text["rounds"]);
    found.warm_up = whole_text["warm_up"].number();
    found.duration = whole_text["duration"].number();
    found.seconds = whole_text["seconds"].number();
    for (const json::value& row : whole_text["rows"].items()) {
        found.rows.push_back({
            .key = row["key"].text(),
            .name = row["name"].text(),
            .command = row["command"].text(),
            .built_on = row["built_on"].text(),
            .skipped = row["skipped"].text(),
        });
    }
    for (const json::value& each : whole_text["cells"].items()) {
        cell one;
        one.what = {
            .size = whole(each["size"]),
            .connections = whole(each["connections"]),
            .pipeline = whole(each["pipeline"]),
        };
        for (const json::value& row : each["rows"].items()) {
            one.rows.push_back(series_from(row));
        }
        found.cells.push_back(std::move(one));
    }
    return found;
}

ratio compare(const series& ours, const series& theirs, figure which) {
    const std::vector<double>& first = ours.of(which);
    const std::vector<double>& second = theirs.of(which);
    std::vector<double> ratios;
    for (std::size_t round = 0; round < std::min(first.size(), second.size()); ++round) {
        double one = first[round] / second[round];
        ratios.push_back(kind_of(which).more_is_better ? 1 / one : one);
    }
    ratios = taken(ratios);
    if (ratios.empty()) {
        return {};
    }
    summary found = summarize(ratios);
    ratio made = {.median = found.median, .low = found.low, .high = found.high};
    // Beyond the noise: three rounds in four agree on the side. A figure that was taken once has
    // to differ by what it is trusted to.
    double margin = ratios.size() == 1 ? 0.03 : 0.0;
    made.says = found.low > 1 + margin    ? ratio::verdict::worse
                : found.high < 1 - margin ? ratio::verdict::better
                                          : ratio::verdict::level;
    return made;
}

std::string shown(double value) {
    if (!std::isfinite(value)) {
        return "-";
    }
    std::array<char, 32> text = {};
    int digits = value < 0.1 ? 4 : value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0;
    std::snprintf(text.data(), text.size(), "%.*f", digits, value);
    return text.data();
}

std::string shown(double value, figure which) {
    if (which == figure::memory) {
        return shown(value / 1024) + " MiB";
    }
    std::string unit = kind_of(which).unit;
    return shown(value) + (unit.empty() ? "" : " ") + unit;
}

} // namespace bench::compare
