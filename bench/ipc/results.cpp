#include "ipc/results.hpp"

#include "compare/results.hpp"
#include "ipc/sides.hpp"
#include "ipc/wires.hpp"
#include "support/json.hpp"

#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::ipc {

namespace {

using compare::figure;
using json::string_literal;

constexpr std::array<figure, 4> kept = {figure::cpu, figure::rate, figure::p50, figure::p99};
constexpr std::array<const char*, 2> pattern_keys = {"round-trip", "one-way"};

template <class Kinds>
std::size_t place_of(const Kinds& kinds, const std::string& key) {
    for (std::size_t index = 0; index < kinds.size(); ++index) {
        if (key == kinds.at(index).key) {
            return index;
        }
    }
    throw std::runtime_error("JSON: nobody knows \"" + key + "\"");
}

std::string joined(const std::vector<std::string>& texts) {
    std::string whole;
    for (const std::string& text : texts) {
        whole += (whole.empty() ? "" : ",") + text;
    }
    return whole;
}

std::string as_json(const row& one) {
    std::string text = "{\"wire\":" + string_literal(kind_of(one.over).key) +
                       ",\"how\":" + string_literal(kind_of(one.how).key);
    for (const figure which : kept) {
        text += ",\"" + std::string(compare::kind_of(which).key) +
                "\":" + json::list(one.all.of(which));
    }
    std::vector<std::string> failures;
    failures.reserve(one.all.failures.size());
    for (const std::string& failure : one.all.failures) {
        failures.push_back(string_literal(failure));
    }
    return text + ",\"first_cpu_us\":" + json::list(one.first_cpu) +
           ",\"second_cpu_us\":" + json::list(one.second_cpu) + ",\"failures\":[" +
           joined(failures) + "]}";
}

row row_from(const json::value& value) {
    row one;
    one.over = static_cast<wire>(place_of(wires, value["wire"].text()));
    one.how = static_cast<way>(place_of(ways, value["how"].text()));
    for (const figure which : kept) {
        one.all.of(which) = value[compare::kind_of(which).key].numbers();
    }
    one.first_cpu = value["first_cpu_us"].numbers();
    one.second_cpu = value["second_cpu_us"].numbers();
    for (const json::value& failure : value["failures"].items()) {
        one.all.failures.push_back(failure.text());
    }
    return one;
}

} // namespace

std::string row::name() const {
    return std::string(kind_of(over).name) + ", " + kind_of(how).name;
}

std::string size_name(std::size_t size) {
    constexpr std::size_t kib = 1024;
    constexpr std::size_t mib = kib * kib;
    return size % mib == 0   ? std::to_string(size / mib) + " MiB"
           : size % kib == 0 ? std::to_string(size / kib) + " KiB"
                             : std::to_string(size) + " B";
}

std::string cell::name() const {
    return size_name(size) + (what == pattern::round_trip ? ", round trip" : ", one way");
}

const row* cell::find(wire over, way how) const {
    for (const row& each : rows) {
        if (each.over == over && each.how == how) {
            return &each;
        }
    }
    return nullptr;
}

figure cell::judged() const {
    return what == pattern::round_trip ? figure::p50 : figure::rate;
}

std::string to_json(const results& found) {
    std::vector<std::string> facts;
    facts.reserve(found.facts.size());
    for (const auto& [name, text] : found.facts) {
        facts.push_back("\n [" + string_literal(name) + "," + string_literal(text) + "]");
    }
    std::vector<std::string> cells;
    cells.reserve(found.cells.size());
    for (const cell& each : found.cells) {
        std::vector<std::string> rows;
        rows.reserve(each.rows.size());
        for (const row& one : each.rows) {
            rows.push_back("\n  " + as_json(one));
        }
        cells.push_back(
            "\n {\"pattern\":" +
            string_literal(pattern_keys.at(static_cast<std::size_t>(each.what))) +
            ",\"size\":" + std::to_string(each.size) + ",\"rows\":[" + joined(rows) + "]}"
        );
    }
    return "{\"benchmark\":\"ipc\",\"rounds\":" + std::to_string(found.rounds) + ",\n\"facts\":[" +
           joined(facts) + "],\n\"cells\":[" + joined(cells) + "]}\n";
}

results from_json(std::string_view text) {
    const json::value whole = json::value::parse(text);
    results found;
    found.rounds = static_cast<unsigned>(whole["rounds"].number());
    for (const json::value& fact : whole["facts"].items()) {
        found.facts.emplace_back(fact.items().at(0).text(), fact.items().at(1).text());
    }
    for (const json::value& each : whole["cells"].items()) {
        cell one;
        one.what =
            each["pattern"].text() == pattern_keys[0] ? pattern::round_trip : pattern::one_way;
        one.size = static_cast<std::size_t>(each["size"].number());
        for (const json::value& series : each["rows"].items()) {
            one.rows.push_back(row_from(series));
        }
        found.cells.push_back(std::move(one));
    }
    return found;
}

} // namespace bench::ipc
