#include "beside/results.hpp"

#include "compare/results.hpp"
#include "support/json.hpp"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::beside {

namespace {

using compare::figure;
using json::string_literal;

constexpr std::array<figure, 5> kept = {
    figure::cpu, figure::rate, figure::p50, figure::p99, figure::memory
};

template <class Things, class Text>
std::string joined(const Things& things, Text text_of) {
    std::string whole;
    for (const auto& each : things) {
        whole += (whole.empty() ? "" : ",") + text_of(each);
    }
    return "[" + whole + "]";
}

std::string as_json(const compare::series& one) {
    std::string text = "\n  {\"row\":" + string_literal(one.row);
    for (const figure which : kept) {
        text +=
            ",\"" + std::string(compare::kind_of(which).key) + "\":" + json::list(one.of(which));
    }
    return text + ",\"failures\":" + joined(one.failures, string_literal) + "}";
}

std::string as_json(const compare::server_row& row) {
    return "\n {\"key\":" + string_literal(row.key) + ",\"name\":" + string_literal(row.name) +
           ",\"command\":" + string_literal(row.command) +
           ",\"built_on\":" + string_literal(row.built_on) +
           ",\"skipped\":" + string_literal(row.skipped) + "}";
}

} // namespace

const compare::series* cell::find(std::string_view row) const {
    for (const compare::series& each : rows) {
        if (each.row == row) {
            return &each;
        }
    }
    return nullptr;
}

std::string to_json(const results& found, std::string_view benchmark) {
    const auto fact = [](const std::pair<std::string, std::string>& each) {
        return "\n [" + string_literal(each.first) + "," + string_literal(each.second) + "]";
    };
    const auto row = [](const compare::server_row& each) { return as_json(each); };
    const auto series = [](const compare::series& each) { return as_json(each); };
    const auto one = [&](const cell& each) {
        return "\n {\"name\":" + string_literal(each.name) +
               ",\"rows\":" + joined(each.rows, series) + "}";
    };
    return "{\"benchmark\":" + string_literal(benchmark) +
           ",\"rounds\":" + std::to_string(found.rounds) +
           ",\n\"facts\":" + joined(found.facts, fact) +
           ",\n\"servers\":" + joined(found.rows, row) +
           ",\n\"cells\":" + joined(found.cells, one) + "}\n";
}

results from_json(std::string_view text) {
    const json::value whole = json::value::parse(text);
    results found;
    found.rounds = static_cast<unsigned>(whole["rounds"].number());
    for (const json::value& fact : whole["facts"].items()) {
        found.facts.emplace_back(fact.items().at(0).text(), fact.items().at(1).text());
    }
    for (const json::value& row : whole["servers"].items()) {
        found.rows.push_back({
            .key = row["key"].text(),
            .name = row["name"].text(),
            .command = row["command"].text(),
            .built_on = row["built_on"].text(),
            .skipped = row["skipped"].text(),
        });
    }
    for (const json::value& each : whole["cells"].items()) {
        cell one = {.name = each["name"].text()};
        for (const json::value& row : each["rows"].items()) {
            compare::series series;
            series.row = row["row"].text();
            for (const figure which : kept) {
                series.of(which) = row[compare::kind_of(which).key].numbers();
            }
            for (const json::value& failure : row["failures"].items()) {
                series.failures.push_back(failure.text());
            }
            one.rows.push_back(std::move(series));
        }
        found.cells.push_back(std::move(one));
    }
    return found;
}

} // namespace bench::beside
