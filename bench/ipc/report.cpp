#include "ipc/report.hpp"

#include "compare/plots.hpp"
#include "compare/results.hpp"
#include "ipc/results.hpp"
#include "ipc/sides.hpp"
#include "ipc/wires.hpp"
#include "support/statistics.hpp"
#include "support/svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace bench::ipc {

namespace {

using compare::figure;
using compare::ratio;
using compare::shown;

constexpr std::array<way, 3> every_way = {way::by_hand, way::gyre_blocking, way::gyre_uring};
constexpr std::array<wire, 5> every_wire = {
    wire::unix_stream, wire::unix_datagram, wire::unix_seqpacket, wire::tcp, wire::pipe
};
constexpr std::array<pattern, 2> every_pattern = {pattern::round_trip, pattern::one_way};

std::string decimal(double value) {
    std::array<char, 32> text = {};
    std::snprintf(text.data(), text.size(), "%.2f", value);
    return text.data();
}

std::vector<const cell*> cells_of(const results& found, pattern what) {
    std::vector<const cell*> all;
    for (const cell& each : found.cells) {
        if (each.what == what) {
            all.push_back(&each);
        }
    }
    return all;
}

// TCP beside a Unix stream: above 1 the Unix stream is the better one.
ratio beside_tcp(const cell& where, way how) {
    const row* tcp = where.find(wire::tcp, how);
    const row* local = where.find(wire::unix_stream, how);
    return tcp == nullptr || local == nullptr
               ? ratio()
               : compare::compare(tcp->all, local->all, where.judged());
}

// --- Tables: the rows are wires in their ways, the columns sizes ---

using line = std::vector<std::string>;
using figure_text = std::string (*)(const cell&, const row&);

std::string with_spread(std::vector<double> values, double unit) {
    values = taken(values);
    if (values.empty()) {
        return "-";
    }
    const summary spread = summarize(values);
    const std::string median = shown(spread.median * unit);
    return values.size() < 2 ? median
                             : median + " (" + shown(spread.low * unit) + " to " +
                                   shown(spread.high * unit) + ")";
}

std::string latency_text(const cell&, const row& one) {
    return with_spread(one.all.of(figure::p50), 1);
}
std::string throughput_text(const cell& where, const row& one) {
    return with_spread(one.all.of(figure::rate), static_cast<double>(where.size) / 1e6);
}
std::string cpu_text(const cell&, const row& one) {
    const std::string both = with_spread(one.all.of(figure::cpu), 1);
    return both == "-" ? both
                       : both + ": " + shown(summarize(taken(one.first_cpu)).median) + " + " +
                             shown(summarize(taken(one.second_cpu)).median);
}

struct table_kind {
    pattern what;
    const char* title;
    figure_text text;
};

constexpr std::array<table_kind, 4> table_kinds = {{
    {pattern::round_trip, "Round trip, microseconds, p50 (less is better)", &latency_text},
    {pattern::one_way, "One way, MB/s (more is better)", &throughput_text},
    {pattern::round_trip,
     "Round trip, CPU microseconds of both processes: who asks + who answers",
     &cpu_text},
    {pattern::one_way,
     "One way, CPU microseconds a message of both processes: who sends + who receives",
     &cpu_text},
}};

std::vector<line> lines_of(const results& found, const table_kind& kind) {
    const std::vector<const cell*> cells = cells_of(found, kind.what);
    std::vector<line> lines = {{"over"}};
    for (const cell* each : cells) {
        lines.front().push_back(size_name(each->size));
    }
    for (const wire over : every_wire) {
        for (const way how : every_way) {
            line next;
            bool any = false;
            for (const cell* each : cells) {
                const row* one = each->find(over, how);
                any = any || one != nullptr;
                next.push_back(one != nullptr ? kind.text(*each, *one) : "-");
            }
            if (any) {
                const row named = {.over = over, .how = how};
                next.insert(next.begin(), named.name());
                lines.push_back(std::move(next));
            }
        }
    }
    return lines;
}

// --- Plots: a panel for each size ---

constexpr double names_width = 190;
constexpr double axis_width = 190;
constexpr double values_width = 60;
constexpr double panel_width = names_width + axis_width + values_width;
constexpr double row_height = 15;
constexpr double header_height = 28;
constexpr double title_height = 44;
constexpr double margin = 14;
constexpr std::size_t columns = 2;

const char* color_of(const row& one) {
    static constexpr std::array<const char*, 3> colors = {"#b05a1e", "#8fbdf0", "#0b4f9c"};
    return colors.at(static_cast<std::size_t>(one.how));
}

double scaled(const cell& where, double value) {
    return where.what == pattern::one_way ? value * static_cast<double>(where.size) / 1e6 : value;
}

void draw_panel(svg::drawing& picture, const cell& each, double left, double top) {
    picture.text({left, top + 18}, size_name(each.size), {.size = 11, .bold = true});
    double most = 0;
    for (const row& one : each.rows) {
        if (one.all.has(each.judged())) {
            most = std::max(most, scaled(each, one.all.spread(each.judged()).high));
        }
    }
    const double start = left + names_width;
    const svg::scale axis = svg::scale::linear(most > 0 ? most : 1, start, start + axis_width);
    double y = top + header_height;
    for (const row& one : each.rows) {
        const svg::lettering right = {.size = 10, .where = svg::anchor::end};
        picture.text({start - 6, y + 4}, one.name(), right);
        if (one.all.has(each.judged())) {
            const summary spread = one.all.spread(each.judged());
            const double end = axis.at(scaled(each, spread.median));
            picture.rectangle({start, y - 5}, {end - start, 10}, color_of(one));
            picture.line(
                {axis.at(scaled(each, spread.low)), y},
                {axis.at(scaled(each, spread.high)), y},
                "#222222"
            );
            picture.text(
                {start + axis_width + 6, y + 4}, shown(scaled(each, spread.median)), {.size = 10}
            );
        } else {
            picture.text({start + 4, y + 4}, "failed", {.size = 10, .color = "#666666"});
        }
        y += row_height;
    }
}

std::string draw(const results& found, pattern what, const std::string& title) {
    const std::vector<const cell*> cells = cells_of(found, what);
    std::size_t most_rows = 0;
    for (const cell* each : cells) {
        most_rows = std::max(most_rows, each->rows.size());
    }
    const double height = header_height + row_height * static_cast<double>(most_rows) + margin;
    const std::size_t line_count = (cells.size() + columns - 1) / columns;
    svg::drawing picture(
        margin * 2 + panel_width * columns,
        title_height + height * static_cast<double>(line_count) + margin,
        title
    );
    picture.text({margin, 20}, title, {.size = 15, .bold = true});
    picture.text(
        {margin, 36},
        "bars: medians over the rounds; strokes: quartiles; each size has its own scale",
        {.size = 11, .color = "#666666"}
    );
    for (std::size_t index = 0; index < cells.size(); ++index) {
        const std::size_t line_index = index / columns;
        draw_panel(
            picture,
            *cells[index],
            margin + panel_width * static_cast<double>(index % columns),
            title_height + height * static_cast<double>(line_index)
        );
    }
    return picture.finish();
}

} // namespace

std::string answer(const results& found) {
    std::array<std::size_t, 3> counts = {}; // true, level, false
    std::string text;
    for (const way how : every_way) {
        for (const pattern what : every_pattern) {
            std::string parts;
            for (const cell* each : cells_of(found, what)) {
                const ratio one = beside_tcp(*each, how);
                if (one.says == ratio::verdict::none || !std::isfinite(one.median)) {
                    continue;
                }
                const std::size_t verdict = one.says == ratio::verdict::worse   ? 0
                                            : one.says == ratio::verdict::level ? 1
                                                                                : 2;
                ++counts.at(verdict);
                static constexpr std::array<const char*, 3> words = {"", ", level", ", the loser"};
                parts += (parts.empty() ? "" : "; ") + size_name(each->size) + ": " +
                         decimal(one.median);
                if (found.rounds > 1) {
                    parts += " (" + decimal(one.low) + " to " + decimal(one.high) + ")";
                }
                parts += words.at(verdict);
            }
            if (!parts.empty()) {
                text += std::string("- ") +
                        (what == pattern::round_trip ? "A round trip" : "One way") + ", " +
                        kind_of(how).name + ": " + parts + ".\n";
            }
        }
    }
    const std::size_t all = counts[0] + counts[1] + counts[2];
    return "Unix stream sockets beat loopback TCP in " + std::to_string(counts[0]) + " of " +
           std::to_string(all) + " cases, are level in " + std::to_string(counts[1]) +
           " and lose in " + std::to_string(counts[2]) +
           ". How many times better they are (the time of a round trip, or the throughput):\n\n" +
           text;
}

std::string tables(const results& found) {
    std::string text;
    for (const table_kind& kind : table_kinds) {
        const std::vector<line> lines = lines_of(found, kind);
        std::vector<std::size_t> widths(lines.front().size(), 0);
        for (const line& each : lines) {
            for (std::size_t index = 0; index < each.size(); ++index) {
                widths[index] = std::max(widths[index], each[index].size());
            }
        }
        text += std::string(kind.title) + "\n";
        for (const line& each : lines) {
            text += "  " + each[0] + std::string(widths[0] - each[0].size(), ' ');
            for (std::size_t index = 1; index < each.size(); ++index) {
                text += "  " + std::string(widths[index] - each[index].size(), ' ') + each[index];
            }
            text += "\n";
        }
        text += "\n";
    }
    return text;
}

std::vector<compare::plot> plots(const results& found) {
    std::vector<compare::plot> made;
    const auto add = [&](const char* name, const std::string& title, pattern what) {
        made.push_back({.name = name, .title = title, .svg = draw(found, what, title)});
    };
    add("latency",
        "Local IPC: a round trip between two processes, microseconds (less is better)",
        pattern::round_trip);
    add("throughput",
        "Local IPC: one way between two processes, MB/s (more is better)",
        pattern::one_way);
    return made;
}

std::string section(const results& found, const std::string& stem) {
    std::string text =
        "<!-- Made by ./dev bench ipc --from docs/" + stem + "-ipc.json --report docs/" + stem +
        ".md; what is changed here is lost. -->\n\n"
        "## Local IPC\n\n"
        "Is the textbook claim true that Unix domain sockets beat loopback TCP between two "
        "processes of one machine?\n\n" +
        answer(found) +
        "\nThat is a median over the rounds, quartiles in brackets; *level* is what those cannot "
        "tell from 1.\n\n";
    for (const compare::plot& each : plots(found)) {
        text += "![" + each.title + "](" + stem + "-ipc-" + each.name + ".svg)\n\n";
    }
    for (const table_kind& kind : table_kinds) {
        text += std::string(kind.title) + ":\n\n";
        bool first = true;
        for (const line& each : lines_of(found, kind)) {
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
        text += "\n";
    }
    text += "A message is sent whole and received whole. A datagram or a seqpacket carries at most "
            "64 KiB here, as more would\nneed larger buffers than sockets have by default. TCP has "
            "no delay set. *Plain calls* are send(2) and recv(2), or\nwrite(2) and read(2), that "
            "block; the figures are in [" +
            stem + "-ipc.json](" + stem + "-ipc.json).\n\n| | |\n|---|---|\n";
    for (const auto& [name, said] : found.facts) {
        text.append("| ").append(name).append(" | ").append(said).append(" |\n");
    }
    return text + "\n";
}

} // namespace bench::ipc
