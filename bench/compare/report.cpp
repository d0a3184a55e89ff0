#include "compare/report.hpp"

#include "compare/plots.hpp"
#include "compare/results.hpp"
#include "compare/table.hpp"
#include "support/statistics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::compare {

namespace {

// What a gyre row is measured by first: who asks the kernel for the same, by hand.
struct twin {
    const char* gyre;
    const char* by_hand;
};

constexpr std::array<twin, 4> twins = {{
    {.gyre = "gyre-uring", .by_hand = "liburing"},
    {.gyre = "gyre-epoll", .by_hand = "epoll"},
    {.gyre = "gyre-blocking", .by_hand = "threads"},
    {.gyre = "gyre-blocking", .by_hand = "poll"},
}};

// What gyre is judged by, in the order of the page.
constexpr std::array<figure, 6> judged = {
    figure::cpu,
    figure::rate,
    figure::p50,
    figure::p99,
    figure::entries,
    figure::memory,
};

std::string decimal(double value, int digits) {
    std::array<char, 32> text = {};
    std::snprintf(text.data(), text.size(), "%.*f", digits, value);
    return text.data();
}

// "1.04", or "14" where decimals say nothing.
std::string times(double ratio) {
    return std::isfinite(ratio) ? decimal(ratio, ratio < 10 ? 2 : 0) : "-";
}

std::string count(std::size_t number, const char* what) {
    return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

std::string capital(std::string text) {
    if (!text.empty() && text.front() >= 'a' && text.front() <= 'z') {
        text.front() = static_cast<char>(text.front() - 'a' + 'A');
    }
    return text;
}

// --- One server beside another, over all cases ---

struct tally {
    std::vector<double> ratios;
    std::size_t worse = 0;
    std::size_t level = 0;
    std::size_t better = 0;

    void add(const ratio& one) {
        if (one.says == ratio::verdict::none || !std::isfinite(one.median) || one.median <= 0) {
            return;
        }
        ratios.push_back(one.median);
        worse += one.says == ratio::verdict::worse ? 1 : 0;
        level += one.says == ratio::verdict::level ? 1 : 0;
        better += one.says == ratio::verdict::better ? 1 : 0;
    }

    [[nodiscard]] double mean() const { return geometric_mean(ratios); }
    [[nodiscard]] double least() const { return *std::min_element(ratios.begin(), ratios.end()); }
    [[nodiscard]] double most() const { return *std::max_element(ratios.begin(), ratios.end()); }

    /// "worse in 5 cases, level in 3, better in 4"
    [[nodiscard]] std::string words() const {
        std::vector<std::string> parts;
        for (auto [number, word] :
             {std::pair(worse, "worse"), std::pair(level, "level"), std::pair(better, "better")}) {
            if (number > 0) {
                parts.push_back(
                    std::string(word) + " in " +
                    (parts.empty() ? count(number, "case") : std::to_string(number))
                );
            }
        }
        std::string text;
        for (const std::string& part : parts) {
            text += (text.empty() ? "" : ", ") + part;
        }
        return text;
    }
};

tally over_all_cases(
    const results& found, const std::string& ours, const std::string& theirs, figure which
) {
    tally all;
    for (const cell& each : found.cells) {
        const series* first = each.find(ours);
        const series* second = each.find(theirs);
        if (first != nullptr && second != nullptr) {
            all.add(compare(*first, *second, which));
        }
    }
    return all;
}

// --- One server beside the best of the others, in one case ---

struct best {
    const server_row* row = nullptr;
    const series* values = nullptr;
};

best best_other(const results& found, const cell& where, figure which) {
    best chosen;
    for (const server_row* row : found.measured()) {
        const series* values = row->is_gyre() ? nullptr : where.find(row->key);
        if (values == nullptr || !values->has(which)) {
            continue;
        }
        double now = values->median(which);
        double before = chosen.values == nullptr ? now : chosen.values->median(which);
        bool ahead = kind_of(which).more_is_better ? now > before : now < before;
        if (chosen.values == nullptr || ahead) {
            chosen = {.row = row, .values = values};
        }
    }
    return chosen;
}

struct standing {
    const cell* where = nullptr;
    best other;
    const series* ours = nullptr;
    ratio beside;
};

std::vector<standing> standings(const results& found, const std::string& ours, figure which) {
    std::vector<standing> all;
    for (const cell& each : found.cells) {
        const series* mine = each.find(ours);
        best other = best_other(found, each, which);
        if (mine != nullptr && other.row != nullptr && mine->has(which)) {
            all.push_back(
                {.where = &each,
                 .other = other,
                 .ours = mine,
                 .beside = compare(*mine, *other.values, which)}
            );
        }
    }
    return all;
}

// --- The parts of the page ---

std::string introduction(const std::string& stem) {
    return "# Performance\n\n"
           "<!-- Made by ./dev bench compare --from docs/" +
           stem + ".json --report docs/" + stem +
           ".md; what is changed here is lost. -->\n\n"
           "TCP echo over loopback: what a request costs on gyre's engines, on servers written by "
           "hand, and on other\nlibraries. Losses stand here like wins: a program makes this page "
           "and its plots, words included, from the\nfigures in [" +
           stem + ".json](" + stem +
           ".json).\n\n"
           "A ratio above 1 is always gyre's loss; that of throughput is turned over. gyre is "
           "*worse* or *better* in a case\nwhen the quartiles of the rounds' ratios lie on one "
           "side of 1, else *level*; kernel entries, which are counted\nonce, have to differ by "
           "3 %.\n\n";
}

std::string least_cpu(const results& found) {
    std::vector<std::pair<std::size_t, std::string>> wins;
    for (const server_row* row : found.measured()) {
        std::size_t number = 0;
        for (const cell& each : found.cells) {
            const series* mine = each.find(row->key);
            bool least = mine != nullptr && mine->has(figure::cpu) &&
                         std::none_of(each.rows.begin(), each.rows.end(), [&](const series& other) {
                             return other.has(figure::cpu) &&
                                    other.median(figure::cpu) < mine->median(figure::cpu);
                         });
            number += least ? 1 : 0;
        }
        if (number > 0) {
            wins.emplace_back(number, row->name);
        }
    }
    std::sort(wins.begin(), wins.end(), [](const auto& one, const auto& other) {
        return one.first != other.first ? one.first > other.first : one.second < other.second;
    });
    std::string text;
    for (const auto& [number, name] : wins) {
        text += (text.empty() ? "" : ", ") + name + " in " + std::to_string(number);
    }
    return text;
}

std::string in_short(const results& found) {
    std::string text = "## In short\n\n";
    for (const twin& pair : twins) {
        tally cpu = over_all_cases(found, pair.gyre, pair.by_hand, figure::cpu);
        tally rate = over_all_cases(found, pair.gyre, pair.by_hand, figure::rate);
        if (cpu.ratios.empty() || rate.ratios.empty()) {
            continue;
        }
        text += "- **" + found.name_of(pair.gyre) + "** beside " + found.name_of(pair.by_hand) +
                ": " + times(cpu.mean()) + " times the CPU per request, from " +
                times(cpu.least()) + " to " + times(cpu.most()) + " (" + cpu.words() +
                "); in throughput a ratio of " + times(rate.mean()) + " (" + rate.words() + ").\n";
    }
    for (const server_row& row : found.rows) {
        if (!row.skipped.empty()) {
            text += "- **" + row.name + "** was not measured: " + row.skipped + ".\n";
        }
    }
    text += "- The least CPU per request, of " + count(found.cells.size(), "case") + ": " +
            least_cpu(found) + ".\n";
    return text +
           "\nA ratio over all cases is a geometric mean, so that each case weighs alike.\n\n";
}

std::string pictures(const results& found, const std::string& stem) {
    std::string text;
    for (const plot& each : plots(found)) {
        text += "![" + each.title + "](" + stem + "-" + each.name + ".svg)\n\n";
    }
    return text;
}

std::string beside_each(const results& found) {
    std::string text = "## Beside each server\n\n"
                       "Geometric means over all cases; in brackets in how many gyre is worse, "
                       "level and better.\n\n";
    for (const server_row* ours : found.measured()) {
        if (!ours->is_gyre()) {
            continue;
        }
        text += "| " + ours->name + " beside |";
        std::string rule = "\n|---|";
        for (figure which : judged) {
            text += " " + std::string(kind_of(which).name) + " |";
            rule += "---:|";
        }
        text += rule + "\n";
        for (const server_row* theirs : found.measured()) {
            if (theirs == ours) {
                continue;
            }
            text += "| " + theirs->name + " |";
            for (figure which : judged) {
                tally all = over_all_cases(found, ours->key, theirs->key, which);
                text += " " + times(all.mean()) + " (" + std::to_string(all.worse) + "/" +
                        std::to_string(all.level) + "/" + std::to_string(all.better) + ") |";
            }
            text += "\n";
        }
        text += "\n";
    }
    return text;
}

// "CPU per request: worse in 5 cases, level in 3, better in 4. The losses are 1.04 to 1.31 times;
// the largest: 64 B, 1 connection, pipeline 1, 7.20 us where poll by hand needs 5.50 us."
std::string losses(const results& found, const server_row& ours, figure which) {
    std::vector<standing> all = standings(found, ours.key, which);
    tally sum;
    const standing* largest = nullptr;
    double least = 0;
    for (const standing& each : all) {
        sum.add(each.beside);
        if (each.beside.says != ratio::verdict::worse) {
            continue;
        }
        least = largest == nullptr ? each.beside.median : std::min(least, each.beside.median);
        if (largest == nullptr || each.beside.median > largest->beside.median) {
            largest = &each;
        }
    }
    if (sum.ratios.empty()) {
        return "";
    }
    std::string text = "- " + capital(kind_of(which).name) + ": " + sum.words() + ".";
    if (largest != nullptr) {
        text += sum.worse == 1 ? " The loss is " + times(largest->beside.median) + " times: "
                               : " The losses are " + times(least) + " to " +
                                     times(largest->beside.median) + " times; the largest: ";
        text += largest->where->what.name() + ", " + shown(largest->ours->median(which), which) +
                " where " + largest->other.row->name + " has " +
                shown(largest->other.values->median(which), which) + " (quartiles of the ratio " +
                times(largest->beside.low) + " to " + times(largest->beside.high) + ").";
    }
    return text + "\n";
}

std::string loss_table(const results& found, const server_row& ours) {
    std::string text = "| case |";
    std::string rule = "\n|---|";
    for (figure which : judged) {
        text += " " + std::string(kind_of(which).name) + " |";
        rule += "---|";
    }
    text += rule + "\n";
    for (const cell& each : found.cells) {
        text += "| " + each.what.name() + " |";
        for (figure which : judged) {
            const series* mine = each.find(ours.key);
            best other = best_other(found, each, which);
            if (mine == nullptr || other.row == nullptr || !mine->has(which)) {
                text += " - |";
                continue;
            }
            ratio beside = compare(*mine, *other.values, which);
            const char* strong = beside.says == ratio::verdict::worse ? "**" : "";
            text += " ";
            text += strong + times(beside.median) + strong;
            text += " " + other.row->name + " |";
        }
        text += "\n";
    }
    return text + "\n";
}

std::string where_gyre_loses(const results& found) {
    std::string text = "## Where gyre loses, and by how much\n\n"
                       "Beside the best of the other servers in each case, whichever that is: no "
                       "single one of them is as good as\nall of these, and the best of several "
                       "noisy figures is a little better than it will be next time. The\ntables "
                       "name it; losses beyond the noise are bold.\n\n";
    for (const server_row* ours : found.measured()) {
        if (!ours->is_gyre()) {
            continue;
        }
        text += "### " + ours->name + "\n\n";
        for (figure which : judged) {
            text += losses(found, *ours, which);
        }
        text += "\n" + loss_table(found, *ours);
    }
    return text;
}

std::string all_figures(const results& found) {
    std::string text = "## The figures\n\n";
    text += found.rounds > 1
                ? "Medians over " + std::to_string(found.rounds) + " rounds, quartiles in brackets."
                : std::string("One round, which shows no spread.");
    text += " `busy` is the part of its processor's time that the server ran: well\nbelow 100 % it "
            "was the load, or waking each other up, that set the throughput. `entries` are kernel "
            "entries per\nrequest.\n\n";
    for (const cell& each : found.cells) {
        text += "### " + each.what.name() + "\n\n" + markdown_table(found, each) + "\n";
    }
    return text;
}

struct relative_spread {
    double part;
    std::string where;
};

std::string noise_of(const results& found, figure which) {
    std::vector<relative_spread> all;
    for (const cell& each : found.cells) {
        for (const series& row : each.rows) {
            if (taken(row.of(which)).size() > 1) {
                summary spread = row.spread(which);
                all.push_back(
                    {.part = (spread.high - spread.low) / spread.median,
                     .where = found.name_of(row.row) + ", " + each.what.name()}
                );
            }
        }
    }
    if (all.empty()) {
        return "";
    }
    std::sort(all.begin(), all.end(), [](const auto& one, const auto& other) {
        return one.part != other.part ? one.part < other.part : one.where < other.where;
    });
    std::vector<double> parts;
    parts.reserve(all.size());
    for (const relative_spread& each : all) {
        parts.push_back(each.part * 100);
    }
    return "| " + std::string(kind_of(which).name) + " | " + decimal(quantile(parts, 0.5), 1) +
           " % | " + decimal(quantile(parts, 0.9), 1) + " % | " + decimal(parts.back(), 1) +
           " % (" + all.back().where + ") |\n";
}

std::string noise(const results& found) {
    std::string rows;
    for (figure which : {figure::cpu, figure::rate, figure::p50, figure::p99, figure::p999}) {
        rows += noise_of(found, which);
    }
    std::string text = "## The noise\n\n";
    if (rows.empty()) {
        return text + "With one round there is no saying how large it is.\n\n";
    }
    return text +
           "How far the quartiles of the same server in the same case are apart, in parts of the "
           "median. A difference\nbelow that says nothing.\n\n"
           "| figure | half of all at most | nine in ten at most | the widest |\n"
           "|---|---:|---:|---|\n" +
           rows + "\n";
}

std::string failures(const results& found) {
    std::size_t number = 0;
    for (const cell& each : found.cells) {
        for (const series& row : each.rows) {
            number += row.failures.size();
        }
    }
    return number == 0 ? "Every server sent back every byte in every turn."
                       : count(number, "turn") +
                             " failed; the tables name the servers, and their figures lack these "
                             "turns.";
}

std::string method(const results& found, const std::string& stem) {
    std::string text = "## How it was measured\n\n| | |\n|---|---|\n";
    auto row = [&text](const std::string& name, const std::string& value) {
        text += "| " + name + " | " + value + " |\n";
    };
    row("date", found.date + ", gyre " + found.revision);
    row("machine",
        found.processor + ", " + std::to_string(found.processors) + " processors, load average " +
            found.load_average + " before");
    row("processors", found.pinning);
    row("kernel", found.kernel);
    row("compiler", found.compiler + ", `" + found.flags + "`");
    row("turns",
        std::to_string(found.rounds) + " of " + shown(found.duration) +
            " s for each server and case, " + shown(found.seconds / 60) + " minutes in all");
    for (const server_row& each : found.rows) {
        row(each.name,
            each.skipped.empty() ? "`" + each.command + "` (" + each.built_on + ")"
                                 : "skipped: " + each.skipped);
    }
    text += "\nIn every round every server has its turn in every case, in an order that rotates. A "
            "turn is a fresh process on one\nprocessor, the threads of that with threads included; "
            "the load, on another, knows nothing of gyre and compares\nevery byte that comes back. "
            "It warms up for " +
            shown(found.warm_up) +
            " s and until each connection has had an answer, then measures: the\nserver's "
            "processor clock and the answers between two moments, and the latency of what was "
            "asked between them.\n" +
            failures(found) +
            "\n\n"
            "All servers take and send at most 4096 bytes at once, as gyre's echo sample does, so "
            "that a message of 16 KiB is\nfour of each or more. Those on readiness (epoll, poll, "
            "libuv) share one buffer among all connections; those that\nhand a buffer to the "
            "kernel or to a coroutine have one for each, which shows in the memory. Peak memory is "
            "what\nwas resident in the process; socket buffers are the kernel's and not in it. "
            "Kernel entries are all system calls\nof the process, counted by ptrace(2) in a turn "
            "of its own; tracing slows a server down, so that one which batches\nfinds larger "
            "batches and its figure comes out smaller.\n\n"
            "## Again, on your machine\n\n"
            "```sh\n"
            "./dev bench compare --json docs/" +
            stem + ".json --report docs/" + stem +
            ".md   # measures; keep the machine quiet\n"
            "./dev bench compare --from docs/" +
            stem + ".json --report docs/" + stem +
            ".md   # only this page, again\n"
            "```\n\n"
            "[bench/README.md](../bench/README.md) has the options, and says what else is "
            "measured.\n";
    return text;
}

} // namespace

std::string report(const results& found, const std::string& stem) {
    return introduction(stem) + in_short(found) + pictures(found, stem) + beside_each(found) +
           where_gyre_loses(found) + noise(found) + all_figures(found) + method(found, stem);
}

} // namespace bench::compare
