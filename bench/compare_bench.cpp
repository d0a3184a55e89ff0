// compare_bench.cpp: what does an echo cost on gyre's engines, on servers written by hand, and on
// other libraries?
//
// Every server takes its turn in every round, for each case of the grid, in an order that rotates:
// what drifts on the machine touches all of them. A turn is a fresh process on a fresh port, on one
// processor, with the load on another; the load verifies every byte. README.md says what the
// figures mean and how far they can be trusted.
//
// Run: ./dev bench compare, or build/release/bench/compare [--help].   Needs: Linux 5.11, ptrace.

#include "compare/plots.hpp"
#include "compare/report.hpp"
#include "compare/results.hpp"
#include "compare/table.hpp"
#include "support/machine.hpp"
#include "support/options.hpp"
#include "support/process.hpp"
#include "support/programs.hpp"
#include "support/section.hpp"

#include <ctime>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using bench::compare::cell;
using bench::compare::figure;
using bench::compare::results;
using bench::compare::series;
using bench::compare::server_row;
using bench::compare::workload;

constexpr const char* usage =
    "usage: compare [--rounds N] [--duration SECONDS] [--warm-up SECONDS] [--quick]\n"
    "               [--connections LIST] [--sizes LIST] [--pipelines LIST] [--rows LIST]\n"
    "               [--no-entries] [--json FILE] [--svg FOLDER] [--report FILE.md]\n"
    "               [--from FILE] [--server-cpu INDEX --load-cpu INDEX] [--revision TEXT]\n"
    "  --rounds       how often each server has its turn in each case; default 5\n"
    "  --duration     what is measured in a turn; default 0.8 seconds\n"
    "  --quick        one short round: whether all of them echo; its figures say little\n"
    "  --connections  default 1,64,1000\n"
    "  --sizes        bytes in a message; default 64,16384\n"
    "  --pipelines    requests on their way on each connection; default 1,16\n"
    "  --rows         default "
    "gyre-uring,gyre-epoll,gyre-blocking,liburing,epoll,threads,poll,asio,\n"
    "                 libuv\n"
    "  --json         every single figure\n"
    "  --svg          plots, as FOLDER/compare-*.svg\n"
    "  --report       a page of it all, its plots beside it\n"
    "  --from         measures nothing, but prints or draws what --json has written\n"
    "The exit code is 1 when a server failed or sent back a wrong byte.\n";

// What may be on its way while kernel entries are counted.
constexpr unsigned counted_bytes = 4U << 20U;

constexpr double none = std::numeric_limits<double>::quiet_NaN();

struct candidate {
    server_row row;
    bench::command command;
    const char* package = nullptr; // without which it is not built
};

struct settings {
    unsigned rounds = 5;
    double warm_up = 0.1;
    double duration = 0.8;
    bool with_entries = true;
    double counted = 0.2; // seconds in which kernel entries are counted
    std::vector<unsigned> connections = {1, 64, 1000};
    std::vector<unsigned> sizes = {64, 16384};
    std::vector<unsigned> pipelines = {1, 16};
    std::vector<candidate> candidates;
    std::string revision = "unknown";
    std::string json;
    std::string svg;
    std::string report;
    std::string from;
    std::string load;
    std::string counter;
    bench::processors processors;
};

// --- The servers ---

std::vector<candidate> all_candidates(const std::string& folder) {
    std::vector<candidate> all;
    for (std::string engine : {"uring", "epoll", "blocking"}) {
        all.push_back({
            .row = {.key = "gyre-" + engine, .name = "gyre " + engine, .built_on = "gyre"},
            .command =
                {folder + "../samples/echo_server", "--idle-timeout", "60", "--engine", engine},
        });
    }
    auto by_hand = [&](const char* key, const char* name, const char* program, const char* package
                   ) {
        all.push_back({
            .row = {.key = key, .name = name},
            .command = {folder + program},
            .package = package,
        });
    };
    by_hand("liburing", "liburing by hand", "uring_echo", nullptr);
    by_hand("epoll", "epoll by hand", "epoll_echo", nullptr);
    by_hand("threads", "threads by hand", "threads_echo", nullptr);
    by_hand("poll", "poll by hand", "poll_echo", nullptr);
    by_hand("asio", "Asio coroutines", "asio_echo", "libasio-dev");
    by_hand("libuv", "libuv", "libuv_echo", "libuv1-dev");
    for (candidate& each : all) {
        for (const std::string& word : each.command) {
            bool program = &word == each.command.data();
            each.row.command += program ? bench::base_name(word) : " " + word;
        }
    }
    return all;
}

std::string first_line(const std::string& text) {
    std::string line = text.substr(0, text.find('\n'));
    return line.empty() ? "it does not say why" : line;
}

// Whether a server can take part: it has been built, and it starts. One that ends with 2 says that
// it does not offer what it was asked for; anything else that is no start is a failure.
void probe(candidate& server) {
    if (::access(server.command.front().c_str(), X_OK) != 0) {
        server.row.skipped = "it was not built";
        if (server.package != nullptr) {
            server.row.skipped += std::string("; Debian has what it needs as ") + server.package;
        }
        return;
    }
    if (server.row.built_on.empty()) {
        server.row.built_on = first_line(bench::run(
            {server.command.front(), "--version"}, std::nullopt, std::chrono::seconds(10)
        ));
    }
    bench::process process(
        bench::extended(server.command, {"--listen", "127.0.0.1:0"}),
        std::nullopt,
        bench::process::errors_to::here
    );
    bool listens = true;
    try {
        process.read_line(std::chrono::seconds(10));
        process.terminate();
    } catch (const std::runtime_error&) {
        listens = false;
    }
    process.finish(std::chrono::seconds(20));
    if (!listens && process.exit_code() == 2) {
        server.row.skipped = first_line(process.errors());
    } else if (!listens || process.exit_code() != 0) {
        throw std::runtime_error(
            server.row.command + ": ended with exit code " + std::to_string(process.exit_code()) +
            ": " + first_line(process.errors())
        );
    }
}

// --- Measuring ---

class compare_bench {
public:
    compare_bench(const settings& chosen, results& found) : settings_(chosen), found_(found) {}

    void measure() {
        prepare();
        auto started = std::chrono::steady_clock::now();
        auto per_row =
            static_cast<std::size_t>(settings_.rounds) + (settings_.with_entries ? 1U : 0U);
        turns_ = per_row * found_.cells.size() * measured_.size();
        for (unsigned round = 0; round < settings_.rounds; ++round) {
            tell_log("round", round + 1, started);
            for (std::size_t at = 0; at < found_.cells.size(); ++at) {
                for (std::size_t turn = 0; turn < measured_.size(); ++turn) {
                    std::size_t row = (turn + round + at) % measured_.size();
                    show_progress(started);
                    drive(found_.cells[at], row);
                }
            }
        }
        if (settings_.with_entries) {
            tell_log("counting kernel entries after round", settings_.rounds, started);
        }
        for (cell& each : found_.cells) {
            for (std::size_t row = 0; row < measured_.size() && settings_.with_entries; ++row) {
                show_progress(started);
                count_entries(each, row);
            }
        }
        hide_progress();
        found_.seconds = seconds_since(started);
    }

private:
    void prepare() {
        for (const candidate& each : settings_.candidates) {
            found_.rows.push_back(each.row);
            if (each.row.skipped.empty()) {
                measured_.push_back(&each);
            }
        }
        for (unsigned pipeline : settings_.pipelines) {
            for (unsigned size : settings_.sizes) {
                for (unsigned connections : settings_.connections) {
                    cell next;
                    next.what = {.size = size, .connections = connections, .pipeline = pipeline};
                    for (const candidate* each : measured_) {
                        next.rows.emplace_back().row = each->row.key;
                    }
                    found_.cells.push_back(std::move(next));
                }
            }
        }
    }

    static double seconds_since(std::chrono::steady_clock::time_point started) {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    }

    [[nodiscard]] double seconds_left(std::chrono::steady_clock::time_point started) const {
        return turns_done_ == 0
                   ? 0
                   : seconds_since(started) * static_cast<double>(turns_ - turns_done_) /
                         static_cast<double>(turns_done_);
    }

    // For somebody who waits: a line that changes on a terminal, a line a round in a log.
    void tell_log(const char* what, unsigned round, std::chrono::steady_clock::time_point started)
        const {
        if (::isatty(STDERR_FILENO) == 0) {
            std::fprintf(
                stderr,
                "compare: %s %u of %u, after %.0f s, some %.0f s left\n",
                what,
                round,
                settings_.rounds,
                seconds_since(started),
                seconds_left(started)
            );
        }
    }

    void show_progress(std::chrono::steady_clock::time_point started) {
        double left = seconds_left(started);
        if (::isatty(STDERR_FILENO) != 0) {
            std::fprintf(
                stderr, "\rturn %zu of %zu, some %.0f s left ", turns_done_ + 1, turns_, left
            );
        }
        ++turns_done_;
    }

    static void hide_progress() {
        if (::isatty(STDERR_FILENO) != 0) {
            std::fputs("\r                                        \r", stderr);
        }
    }

    [[nodiscard]] bench::command
    load_command(const bench::server& server, const workload& what) const {
        bench::command line = {
            settings_.load,
            "--connect",
            server.endpoint(),
            "--connections",
            std::to_string(what.connections),
            "--size",
            std::to_string(what.size),
            "--pipeline",
            std::to_string(what.pipeline),
        };
        if (settings_.processors.load) {
            line.insert(line.end(), {"--cpu", std::to_string(*settings_.processors.load)});
        }
        return line;
    }

    // One turn. One that fails leaves a hole in each series and says why.
    void drive(cell& where, std::size_t row) {
        series& into = where.rows[row];
        std::array<double, bench::compare::figures.size()> taken = {};
        taken.fill(none);
        auto at = [&taken](figure which) -> double& {
            return taken.at(static_cast<std::size_t>(which));
        };
        try {
            bench::server server(measured_[row]->command, settings_.processors.server);
            std::string report = bench::run(
                bench::extended(
                    load_command(server, where.what),
                    bench::extended(
                        stretch(where.what, settings_.duration),
                        {"--server", std::to_string(server.id())}
                    )
                ),
                std::nullopt,
                time_limit()
            );
            // A stretch in which nothing was answered has neither a cost nor a latency.
            auto value = [&report](const char* key) {
                double number = bench::number_after(report, key).value_or(none);
                return number > 0 ? number : none;
            };
            at(figure::cpu) = value("server_cpu_us") / value("requests");
            at(figure::rate) = value("requests_per_second");
            at(figure::p50) = value("p50_us");
            at(figure::p99) = value("p99_us");
            at(figure::p999) = value("p999_us");
            at(figure::memory) = server.peak_memory();
            server.stop();
        } catch (const std::runtime_error& error) {
            taken.fill(none);
            fail(where, row, error.what());
        }
        for (figure which :
             {figure::cpu, figure::rate, figure::p50, figure::p99, figure::p999, figure::memory}) {
            into.of(which).push_back(at(which));
        }
    }

    [[nodiscard]] std::chrono::seconds time_limit() const {
        return std::chrono::seconds(60 + static_cast<int>(settings_.duration));
    }

    void fail(cell& where, std::size_t row, const char* why) {
        hide_progress();
        const std::string& name = measured_[row]->row.name;
        std::fprintf(stderr, "compare: %s: %s: %s\n", where.what.name().c_str(), name.c_str(), why);
        where.rows[row].failures.emplace_back(why);
    }

    // In a turn of its own, since the tracing makes the server slower; and with no more on its way
    // than a traced server gets round soon.
    void count_entries(cell& where, std::size_t row) {
        double entries = none;
        try {
            bench::server server(measured_[row]->command, settings_.processors.server);
            bench::command line = {
                settings_.counter,
                "--pid",
                std::to_string(server.id()),
                "--what",
                "syscalls",
                "--limit",
                "20",
                "--",
            };
            workload what = where.what;
            what.pipeline =
                std::clamp(counted_bytes / (what.size * what.connections), 1U, what.pipeline);
            bench::command driver = load_command(server, what);
            driver.insert(driver.end(), {"--mark"});
            bench::process counter(
                bench::extended(line, bench::extended(driver, stretch(what, settings_.counted))),
                std::nullopt,
                bench::process::errors_to::here
            );
            std::string report = counter.finish(std::chrono::seconds(30));
            // The counter passes on what the load prints.
            auto requests = bench::number_after(counter.errors(), "requests");
            auto entered = bench::number_after(report, "stretch_syscalls");
            if (counter.exit_code() != 0 || !requests || !entered) {
                throw std::runtime_error(first_line(counter.errors()));
            }
            entries = *entered / *requests;
            server.stop();
        } catch (const std::runtime_error& error) {
            // Tracing may be forbidden here; the other figures stand.
            hide_progress();
            std::fprintf(stderr, "compare: entries are not counted: %s\n", error.what());
        }
        where.rows[row].of(figure::entries).push_back(entries);
    }

    // Long enough for what is on its way at one time to be answered twice.
    [[nodiscard]] bench::command stretch(const workload& what, double duration) const {
        return {
            "--warm-up",
            std::to_string(settings_.warm_up),
            "--duration",
            std::to_string(duration),
            "--answers",
            std::to_string(std::uint64_t{2} * what.connections * what.pipeline),
        };
    }

    const settings& settings_;
    results& found_;
    std::vector<const candidate*> measured_;
    std::size_t turns_ = 0;
    std::size_t turns_done_ = 0;
};

// --- Options ---

std::vector<std::string> cut(std::string_view list) {
    std::vector<std::string> words;
    while (!list.empty()) {
        std::size_t end = std::min(list.find(','), list.size());
        words.emplace_back(list.substr(0, end));
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return words;
}

std::vector<unsigned> numbers(bench::options& options, unsigned max) {
    std::vector<unsigned> all;
    for (const std::string& word : cut(options.text())) {
        unsigned number = 0;
        const char* end = word.data() + word.size();
        auto parsed = std::from_chars(word.data(), end, number);
        if (parsed.ec != std::errc() || parsed.ptr != end || number == 0 || number > max) {
            options.fail("needs numbers above 0, with commas between them");
        }
        all.push_back(number);
    }
    if (all.empty()) {
        options.fail("needs a number");
    }
    return all;
}

void choose_rows(bench::options& options, std::vector<candidate>& candidates) {
    std::vector<candidate> chosen;
    for (const std::string& key : cut(options.text())) {
        auto found = std::find_if(candidates.begin(), candidates.end(), [&](const candidate& each) {
            return each.row.key == key;
        });
        if (found == candidates.end()) {
            options.fail("names a row that there is not");
        }
        chosen.push_back(*found);
    }
    candidates = std::move(chosen);
}

settings parse(int argc, char** argv) {
    settings chosen;
    std::string folder = bench::own_folder();
    chosen.candidates = all_candidates(folder);
    chosen.load = folder + "echo_load";
    chosen.counter = folder + "instruction_counter";
    chosen.processors = bench::first_processors();
    bench::options options(argc, argv, usage);
    while (options.next()) {
        if (options.is("--rounds")) {
            chosen.rounds = options.number(1U, 1000U);
        } else if (options.is("--duration")) {
            chosen.duration = options.number(0.001, 600.0);
        } else if (options.is("--warm-up")) {
            chosen.warm_up = options.number(0.001, 600.0);
        } else if (options.is("--quick")) {
            chosen.rounds = 1;
            chosen.duration = 0.1;
            chosen.warm_up = 0.02;
            chosen.counted = 0.05;
        } else if (options.is("--connections")) {
            chosen.connections = numbers(options, 100'000);
        } else if (options.is("--sizes")) {
            chosen.sizes = numbers(options, 1U << 24U);
        } else if (options.is("--pipelines")) {
            chosen.pipelines = numbers(options, 4096);
        } else if (options.is("--rows")) {
            choose_rows(options, chosen.candidates);
        } else if (options.is("--no-entries")) {
            chosen.with_entries = false;
        } else if (options.is("--json")) {
            chosen.json = options.text();
        } else if (options.is("--svg")) {
            chosen.svg = options.text();
        } else if (options.is("--report")) {
            chosen.report = options.text();
        } else if (options.is("--from")) {
            chosen.from = options.text();
        } else if (options.is("--server-cpu")) {
            chosen.processors.server = options.number(0, CPU_SETSIZE - 1);
        } else if (options.is("--load-cpu")) {
            chosen.processors.load = options.number(0, CPU_SETSIZE - 1);
        } else if (options.is("--revision")) {
            chosen.revision = options.text();
        } else {
            options.unknown();
        }
    }
    if (chosen.processors.server.has_value() != chosen.processors.load.has_value()) {
        std::fputs(usage, stderr);
        std::exit(2);
    }
    return chosen;
}

// --- All of it ---

std::string today() {
    std::time_t now = std::time(nullptr);
    std::tm parts = {};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> text = {};
    std::strftime(text.data(), text.size(), "%Y-%m-%d", &parts);
    return text.data();
}

std::string pinning(const bench::processors& chosen) {
    return chosen.server && chosen.load ? "the server on number " + std::to_string(*chosen.server) +
                                              ", the load on number " + std::to_string(*chosen.load)
                                        : std::string("nothing pinned");
}

results described(const settings& chosen) {
    bench::machine here = bench::this_machine();
    results found;
    found.date = today();
    found.revision = chosen.revision;
    found.processor = here.processor;
    found.processors = here.processors;
    found.kernel = here.kernel;
    found.compiler = here.compiler;
    found.flags = here.flags;
    found.load_average = here.load_average;
    found.pinning = pinning(chosen.processors);
    found.rounds = chosen.rounds;
    found.warm_up = chosen.warm_up;
    found.duration = chosen.duration;
    return found;
}

// Also what was just measured goes through its JSON, so that the same comes out of it later.
results measured(settings& chosen) {
    for (candidate& each : chosen.candidates) {
        probe(each);
    }
    results found = described(chosen);
    compare_bench(chosen, found).measure();
    return bench::compare::from_json(bench::compare::to_json(found));
}

std::string contents_of(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
        throw std::runtime_error(path + ": cannot be read");
    }
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void write(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    file.close();
    if (!file) {
        throw std::runtime_error(path + ": cannot be written");
    }
}

// What other benchmarks have added to the page stays where it was, at the end.
std::string sections_of_others(const std::string& path) {
    std::string all;
    if (::access(path.c_str(), R_OK) == 0) {
        const std::string page = contents_of(path);
        for (const char* name : {"ipc", "kv", "http"}) {
            const std::string kept = bench::section_of(page, name);
            all += kept.empty() ? kept : "\n" + kept;
        }
    }
    return all;
}

void write_plots(const results& found, const std::string& prefix) {
    for (const bench::compare::plot& each : bench::compare::plots(found)) {
        write(prefix + "-" + each.name + ".svg", each.svg);
    }
}

// "docs/performance" for "docs/performance.md"
std::string without_extension(const std::string& path) {
    std::size_t slash = path.rfind('/');
    std::size_t dot = path.rfind('.');
    bool has_dot = dot != std::string::npos && (slash == std::string::npos || dot > slash);
    return has_dot ? path.substr(0, dot) : path;
}

void print(const results& found) {
    std::puts("compare: TCP echo over loopback, what a request costs\n");
    std::fputs(bench::compare::heading(found).c_str(), stdout);
    for (const cell& each : found.cells) {
        std::printf("\n%s", bench::compare::table(found, each).c_str());
    }
    std::fputs("\nbusy: the part of its processor's time that the server ran; ", stdout);
    std::puts("entries: kernel entries per request");
    std::printf("measured in %.0f s\n", found.seconds);
}

bool all_echoed(const results& found) {
    bool all = true;
    for (const cell& each : found.cells) {
        for (const series& row : each.rows) {
            all = all && row.failures.empty() && row.has(figure::rate);
        }
    }
    return all;
}

// The processes it starts inherit the limit: a thousand connections are as many descriptors.
void raise_descriptor_limit() {
    rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int compare(settings chosen) {
    raise_descriptor_limit();
    results found = chosen.from.empty() ? measured(chosen)
                                        : bench::compare::from_json(contents_of(chosen.from));
    // A page or a plot is all that is asked for when they are made of an earlier run.
    if (chosen.from.empty() || (chosen.svg.empty() && chosen.report.empty())) {
        print(found);
    }
    if (!chosen.json.empty()) {
        write(chosen.json, bench::compare::to_json(found));
    }
    if (!chosen.svg.empty()) {
        write_plots(found, chosen.svg + "/compare");
    }
    if (!chosen.report.empty()) {
        std::string stem = without_extension(chosen.report);
        write_plots(found, stem);
        const std::string page = bench::compare::report(found, stem.substr(stem.rfind('/') + 1));
        write(chosen.report, page + sections_of_others(chosen.report));
    }
    return all_echoed(found) ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return compare(parse(argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "compare: %s\n", error.what());
        return 1;
    }
}
