// echo_bench.cpp: what does gyre cost over liburing written by hand?
//
// Two echo servers that ask the kernel for the same work take turns, each on one processor, with
// the load on another: the sample of gyre with everything on, and baseline/uring_echo.cpp. Their
// order changes from pair to pair and the ratio is the median of the pairs' ratios, so that what
// drifts on the machine touches both. README.md says what the figures mean and how far they can be
// trusted.
//
// Run: ./dev bench echo, or build/release/bench/echo [--help].   Needs: Linux 5.11, ptrace.

#include "support/json.hpp"
#include "support/machine.hpp"
#include "support/options.hpp"
#include "support/process.hpp"
#include "support/programs.hpp"
#include "support/statistics.hpp"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr const char* usage =
    "usage: echo [--case SIZExCONNECTIONS]... [--pairs N] [--requests N] [--step-requests N]\n"
    "            [--no-cpu] [--no-instructions] [--no-entries] [--check] [--json FILE]\n"
    "            [--subject COMMAND] [--baseline COMMAND] [--load PATH] [--counter PATH]\n"
    "            [--server-cpu INDEX] [--load-cpu INDEX] [--compile COMMAND]\n"
    "  --case           what to measure; default 64x64 and 64x1\n"
    "  --pairs          interleaved runs of both servers; default 20\n"
    "  --requests       in each run; default 100000, at one connection a tenth\n"
    "  --step-requests  single-stepped in each run; default 4096, at one connection a tenth\n"
    "  --check          exit code 1 when a budget is exceeded\n"
    "  --subject        the server to judge; default ../samples/echo_server --idle-timeout 60\n"
    "  --compile        a command to time as well: how the echo sample is compiled\n";

// The project's budgets, for 64 bytes on 64 connections.
constexpr double cpu_ratio_max = 1.03;
constexpr double instructions_max = 400;
constexpr double instructions_aim = 300;
constexpr double baseline_instructions = 181;
constexpr double compile_seconds_max = 1.5;

constexpr double none = std::numeric_limits<double>::quiet_NaN();

struct workload {
    unsigned size = 64;
    unsigned connections = 64;
};

struct settings {
    std::vector<workload> workloads;
    unsigned pairs = 20;
    std::uint64_t requests = 100'000;
    std::uint64_t step_requests = 4096;
    bool with_cpu = true;
    bool with_instructions = true;
    bool with_entries = true;
    bool check = false;
    std::string json;
    bench::command subject;
    bench::command baseline;
    std::string load;
    std::string counter;
    std::optional<int> server_cpu;
    std::optional<int> load_cpu;
    bench::command compile;
};

// One server under one workload. The index says which server: the baseline is 0, the subject 1.
struct measurements {
    std::vector<double> cpu; // microseconds per request
    std::vector<double> rate;
    std::vector<double> p50;
    std::vector<double> p99;
    std::vector<double> own_entries; // per request, as the server counts them
    double instructions = none;      // per request
    double entries = none;           // per request, as counted from outside
    std::string instruction_method;
};

struct outcome {
    workload what;
    std::uint64_t requests = 0;
    std::array<measurements, 2> servers;
    std::vector<double> cpu_ratios;
};

class echo_bench {
public:
    explicit echo_bench(settings chosen) : settings_(std::move(chosen)) {}

    outcome measure(const workload& what) const {
        outcome found;
        found.what = what;
        found.requests = scaled(settings_.requests, what);
        if (settings_.with_cpu) {
            for (unsigned pair = 0; pair < settings_.pairs; ++pair) {
                std::array<double, 2> cpu = {};
                for (std::size_t turn = 0; turn < 2; ++turn) {
                    std::size_t which = (turn + pair) % 2;
                    cpu[which] = drive(which, found);
                }
                found.cpu_ratios.push_back(cpu[1] / cpu[0]);
                show_progress(pair + 1);
            }
            show_progress(0);
        }
        for (std::size_t which = 0; which < 2; ++which) {
            measurements& server = found.servers[which];
            // Tracing may be forbidden here, or starved by others; the other figures stand.
            try {
                if (settings_.with_instructions) {
                    count_instructions(which, what, server);
                }
                if (settings_.with_entries) {
                    count_entries(which, what, server);
                }
            } catch (const std::runtime_error& error) {
                std::fprintf(stderr, "echo: not counted: %s\n", error.what());
            }
        }
        return found;
    }

    /// Seconds of processor time, the least of a few runs: what the compiler itself needs.
    [[nodiscard]] double compile_seconds() const {
        double least = none;
        for (int run = 0; run < 3; ++run) {
            bench::process compiler(settings_.compile);
            compiler.finish(std::chrono::seconds(120));
            if (compiler.exit_code() != 0) {
                throw std::runtime_error("the compile command fails");
            }
            const rusage& used = compiler.resources();
            auto seconds = [](const timeval& time) {
                return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
            };
            double now = seconds(used.ru_utime) + seconds(used.ru_stime);
            least = run == 0 ? now : std::min(least, now);
        }
        return least;
    }

private:
    // For somebody who waits; 0 removes the line again.
    void show_progress(unsigned pairs) const {
        if (::isatty(STDERR_FILENO) == 0) {
            return;
        }
        if (pairs == 0) {
            std::fputs("\r                          \r", stderr);
        } else {
            std::fprintf(stderr, "\r%u of %u pairs ", pairs, settings_.pairs);
        }
    }

    // At one connection a request takes ten times as long.
    static std::uint64_t scaled(std::uint64_t requests, const workload& what) {
        return what.connections == 1 ? std::max<std::uint64_t>(requests / 10, 100) : requests;
    }

    // The same number on each connection, so that both runs of a pair end alike.
    static std::uint64_t even(std::uint64_t requests, const workload& what) {
        return (requests + what.connections - 1) / what.connections * what.connections;
    }

    [[nodiscard]] const bench::command& server_command(std::size_t which) const {
        return which == 0 ? settings_.baseline : settings_.subject;
    }

    [[nodiscard]] bench::command
    load_command(const bench::server& server, const workload& what, std::uint64_t requests) const {
        bench::command line = {
            settings_.load,
            "--connect",
            server.endpoint(),
            "--connections",
            std::to_string(what.connections),
            "--size",
            std::to_string(what.size),
            "--requests",
            std::to_string(requests),
        };
        if (settings_.load_cpu) {
            line.insert(line.end(), {"--cpu", std::to_string(*settings_.load_cpu)});
        }
        return line;
    }

    // One run of one server, started for it: where the memory of a process happens to lie makes a
    // difference of some percent, which a new process each time turns into noise that averages out.
    double drive(std::size_t which, outcome& found) const {
        bench::server server(
            bench::extended(server_command(which), {"--report"}), settings_.server_cpu
        );
        std::uint64_t warm_up = std::max<std::uint64_t>(found.requests / 20, 64);
        run_load(load_command(server, found.what, warm_up));
        std::chrono::nanoseconds before = server.cpu_time();
        std::string report = run_load(load_command(server, found.what, found.requests));
        std::chrono::nanoseconds used = server.cpu_time() - before;
        measurements& into = found.servers[which];
        double cpu = static_cast<double>(used.count()) / 1e3 / static_cast<double>(found.requests);
        into.cpu.push_back(cpu);
        into.rate.push_back(bench::number_after(report, "requests_per_second").value_or(none));
        into.p50.push_back(bench::number_after(report, "p50_us").value_or(none));
        into.p99.push_back(bench::number_after(report, "p99_us").value_or(none));
        if (auto enters = bench::number_after(server.stop(), "enters")) {
            into.own_entries.push_back(*enters / static_cast<double>(found.requests + warm_up));
        }
        return cpu;
    }

    static std::string run_load(const bench::command& line) {
        return bench::run(line, std::nullopt, std::chrono::seconds(300));
    }

    // What a request costs is the difference of two runs: connecting and closing are in both.
    void count_instructions(std::size_t which, const workload& what, measurements& into) const {
        std::uint64_t requests = even(scaled(settings_.step_requests, what), what);
        bench::server server(server_command(which), settings_.server_cpu);
        std::string few = count(server, "instructions", what, even(requests / 4, what));
        std::string many = count(server, "instructions", what, even(requests / 4, what) + requests);
        into.instructions = (value(many, "instructions") - value(few, "instructions")) /
                            static_cast<double>(requests);
        bool by_hardware = many.find("method=hardware") != std::string::npos;
        into.instruction_method = by_hardware ? "hardware counter" : "single-stepped";
        server.stop();
    }

    void count_entries(std::size_t which, const workload& what, measurements& into) const {
        std::uint64_t requests = even(scaled(settings_.requests / 4, what), what);
        bench::server server(server_command(which), settings_.server_cpu);
        std::string few = count(server, "syscalls", what, even(requests / 4, what));
        std::string many = count(server, "syscalls", what, even(requests / 4, what) + requests);
        into.entries =
            (value(many, "syscalls") - value(few, "syscalls")) / static_cast<double>(requests);
        server.stop();
    }

    [[nodiscard]] std::string count(
        const bench::server& server, const char* what, const workload& load, std::uint64_t requests
    ) const {
        bench::command line = {
            settings_.counter,
            "--pid",
            std::to_string(server.id()),
            "--what",
            what,
            "--limit",
            "280",
            "--",
        };
        // What the load measures beside a traced server says nothing.
        bench::command quiet = {"sh", "-c", "exec \"$@\" >/dev/null", "sh"};
        bench::command driver = load_command(server, load, requests);
        driver.insert(driver.end(), {"--stall", "120"}); // a stepped server is slow
        bench::command whole = bench::extended(bench::extended(line, quiet), driver);
        return bench::run(whole, std::nullopt, std::chrono::seconds(300));
    }

    static double value(const std::string& report, const char* key) {
        auto found = bench::number_after(report, key);
        if (!found) {
            throw std::runtime_error(std::string("the counter does not say ") + key);
        }
        return *found;
    }

    settings settings_;
};

// --- Words and figures ---

std::string joined(const bench::command& line) {
    std::string text;
    for (const std::string& word : line) {
        text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

std::string option_text(const settings& chosen) {
    std::string text = "pairs " + std::to_string(chosen.pairs);
    text += chosen.server_cpu && chosen.load_cpu
                ? ", server on cpu " + std::to_string(*chosen.server_cpu) + ", load on cpu " +
                      std::to_string(*chosen.load_cpu)
                : ", not pinned";
    return text;
}

void print_row(const char* name, double baseline, double subject, double ratio, const char* note) {
    auto figure = [](double value) {
        std::array<char, 32> text = {};
        int digits = value < 1 ? 4 : value < 100 ? 2 : 0;
        std::snprintf(text.data(), text.size(), "%.*f", digits, value);
        return std::string(value == value ? text.data() : "-");
    };
    std::printf(
        "  %-34s %12s %12s %8s  %s\n",
        name,
        figure(baseline).c_str(),
        figure(subject).c_str(),
        figure(ratio).c_str(),
        note
    );
}

void print_medians(
    const char* name, const outcome& found, std::vector<double> measurements::* which
) {
    const std::vector<double>& baseline = found.servers[0].*which;
    const std::vector<double>& subject = found.servers[1].*which;
    double first = baseline.empty() ? none : bench::summarize(baseline).median;
    double second = subject.empty() ? none : bench::summarize(subject).median;
    print_row(name, first, second, second / first, "");
}

std::string spread_note(const std::vector<double>& values) {
    bench::summary found = bench::summarize(values);
    auto [least, most] = std::minmax_element(values.begin(), values.end());
    std::array<char, 96> text = {};
    std::snprintf(
        text.data(),
        text.size(),
        "quartiles %.3f .. %.3f, all %.3f .. %.3f",
        found.low,
        found.high,
        *least,
        *most
    );
    return text.data();
}

void print(const outcome& found) {
    std::printf("\n%u B x %u connections", found.what.size, found.what.connections);
    if (!found.cpu_ratios.empty()) {
        std::printf(
            ", medians of %zu pairs of %llu requests",
            found.cpu_ratios.size(),
            static_cast<unsigned long long>(found.requests)
        );
    }
    std::printf("\n  %-34s %12s %12s %8s\n", "", "liburing", "gyre", "ratio");
    const measurements& baseline = found.servers[0];
    const measurements& subject = found.servers[1];
    if (!found.cpu_ratios.empty()) {
        print_row(
            "server CPU per request, us",
            bench::summarize(baseline.cpu).median,
            bench::summarize(subject.cpu).median,
            bench::summarize(found.cpu_ratios).median,
            spread_note(found.cpu_ratios).c_str()
        );
    }
    print_row(
        "user instructions per request",
        baseline.instructions,
        subject.instructions,
        subject.instructions / baseline.instructions,
        subject.instruction_method.c_str()
    );
    print_row(
        "kernel entries per request",
        baseline.entries,
        subject.entries,
        subject.entries / baseline.entries,
        "all system calls, traced"
    );
    if (!found.cpu_ratios.empty()) {
        print_medians("kernel entries, by own count", found, &measurements::own_entries);
        print_medians("requests per second", found, &measurements::rate);
        print_medians("p50, us", found, &measurements::p50);
        print_medians("p99, us", found, &measurements::p99);
    }
}

// A figure that was not taken is no breach.
bool judge(const char* name, double value, double most) {
    if (value != value) {
        return true;
    }
    bool met = value <= most;
    std::printf("  %-46s %8.3f  at most %8.3f  %s\n", name, value, most, met ? "met" : "EXCEEDED");
    return met;
}

bool print_budgets(const std::vector<outcome>& outcomes, double compile_seconds) {
    bool met = true;
    std::puts("\nbudgets");
    for (const outcome& found : outcomes) {
        if (found.what.size != 64 || found.what.connections != 64) {
            continue;
        }
        double ratio = found.cpu_ratios.empty() ? none : bench::summarize(found.cpu_ratios).median;
        met = judge("CPU ratio", ratio, cpu_ratio_max) && met;
        double instructions = found.servers[1].instructions;
        met = judge("instructions", instructions, instructions_max) && met;
        judge("instructions, the aim", instructions, instructions_aim);
        double baseline = found.servers[0].instructions;
        judge("the baseline's instructions", baseline, baseline_instructions * 1.05);
        double saved = baseline < baseline_instructions ? 1 - baseline / baseline_instructions : 0;
        judge("how far it is below 181", baseline == baseline ? saved : none, 0.05);
    }
    return judge("compiling the echo sample, CPU s", compile_seconds, compile_seconds_max) && met;
}

// --- JSON ---

using bench::json::list;
using bench::json::plain;
using bench::json::string_literal;

std::string as_json(const measurements& server) {
    return "{\"cpu_us\":" + list(server.cpu) + ",\"requests_per_second\":" + list(server.rate) +
           ",\"p50_us\":" + list(server.p50) + ",\"p99_us\":" + list(server.p99) +
           ",\"own_entries\":" + list(server.own_entries) +
           ",\"entries\":" + plain(server.entries) +
           ",\"instructions\":" + plain(server.instructions) +
           ",\"instruction_method\":" + string_literal(server.instruction_method) + "}";
}

void write_json(
    const settings& chosen,
    const bench::machine& here,
    const std::vector<outcome>& outcomes,
    double compile_seconds
) {
    std::string text = "{\"benchmark\":\"echo\",\"processor\":" + string_literal(here.processor) +
                       ",\"processors\":" + std::to_string(here.processors) +
                       ",\"kernel\":" + string_literal(here.kernel) +
                       ",\"compiler\":" + string_literal(here.compiler) +
                       ",\"load_average\":" + string_literal(here.load_average) +
                       ",\"options\":" + string_literal(option_text(chosen)) +
                       ",\"compile_seconds\":" + plain(compile_seconds) + ",\"cases\":[";
    for (std::size_t index = 0; index < outcomes.size(); ++index) {
        const outcome& found = outcomes[index];
        double ratio = found.cpu_ratios.empty() ? none : bench::summarize(found.cpu_ratios).median;
        text += std::string(index > 0 ? "," : "") + "{\"size\":" + std::to_string(found.what.size) +
                ",\"connections\":" + std::to_string(found.what.connections) +
                ",\"requests\":" + std::to_string(found.requests) +
                ",\"cpu_ratio\":" + plain(ratio) + ",\"cpu_ratios\":" + list(found.cpu_ratios) +
                ",\"liburing\":" + as_json(found.servers[0]) +
                ",\"gyre\":" + as_json(found.servers[1]) + "}";
    }
    text += "]}\n";
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        std::fopen(chosen.json.c_str(), "w"), &std::fclose
    );
    if (!file || std::fputs(text.c_str(), file.get()) < 0) {
        throw std::runtime_error(chosen.json + ": cannot be written");
    }
}

// --- Options ---

workload parse_workload(bench::options& options) {
    workload what;
    char rest = 0;
    if (std::sscanf(options.text(), "%ux%u%c", &what.size, &what.connections, &rest) != 2 ||
        what.size == 0 || what.connections == 0) {
        options.fail("needs SIZExCONNECTIONS, 64x64 for example");
    }
    return what;
}

settings parse(int argc, char** argv) {
    settings chosen;
    std::string folder = bench::own_folder();
    chosen.subject = {folder + "../samples/echo_server", "--idle-timeout", "60"};
    chosen.baseline = {folder + "uring_echo"};
    chosen.load = folder + "echo_load";
    chosen.counter = folder + "instruction_counter";
    auto [server_cpu, load_cpu] = bench::first_processors();
    chosen.server_cpu = server_cpu;
    chosen.load_cpu = load_cpu;
    bench::options options(argc, argv, usage);
    while (options.next()) {
        if (options.is("--case")) {
            chosen.workloads.push_back(parse_workload(options));
        } else if (options.is("--pairs")) {
            chosen.pairs = options.number(1U, 1000U);
        } else if (options.is("--requests")) {
            chosen.requests = options.number<std::uint64_t>(1000, 1'000'000'000);
        } else if (options.is("--step-requests")) {
            chosen.step_requests = options.number<std::uint64_t>(1000, 10'000'000);
        } else if (options.is("--no-cpu")) {
            chosen.with_cpu = false;
        } else if (options.is("--no-instructions")) {
            chosen.with_instructions = false;
        } else if (options.is("--no-entries")) {
            chosen.with_entries = false;
        } else if (options.is("--check")) {
            chosen.check = true;
        } else if (options.is("--json")) {
            chosen.json = options.text();
        } else if (options.is("--subject")) {
            chosen.subject = bench::split(options.text());
        } else if (options.is("--baseline")) {
            chosen.baseline = bench::split(options.text());
        } else if (options.is("--load")) {
            chosen.load = options.text();
        } else if (options.is("--counter")) {
            chosen.counter = options.text();
        } else if (options.is("--server-cpu")) {
            chosen.server_cpu = options.number(0, CPU_SETSIZE - 1);
        } else if (options.is("--load-cpu")) {
            chosen.load_cpu = options.number(0, CPU_SETSIZE - 1);
        } else if (options.is("--compile")) {
            chosen.compile = bench::split(options.text());
        } else {
            options.unknown();
        }
    }
    if (chosen.subject.empty() || chosen.baseline.empty() ||
        chosen.server_cpu.has_value() != chosen.load_cpu.has_value()) {
        std::fputs(usage, stderr);
        std::exit(2);
    }
    if (chosen.workloads.empty()) {
        chosen.workloads = {{.size = 64, .connections = 64}, {.size = 64, .connections = 1}};
    }
    return chosen;
}

int measure_all(const settings& chosen) {
    std::puts("echo: what gyre costs over liburing written by hand, doing the same kernel work");
    bench::machine here = bench::this_machine();
    std::printf("machine   %s, %u processors\n", here.processor.c_str(), here.processors);
    std::printf("kernel    %s, load average %s\n", here.kernel.c_str(), here.load_average.c_str());
    std::printf("compiler  %s\n", here.compiler.c_str());
    std::printf("options   %s\n", option_text(chosen).c_str());
    std::printf("liburing  %s\n", joined(chosen.baseline).c_str());
    std::printf("gyre      %s\n", joined(chosen.subject).c_str());
    std::fflush(stdout);
    echo_bench bench(chosen);
    double compile_seconds = chosen.compile.empty() ? none : bench.compile_seconds();
    std::vector<outcome> outcomes;
    for (const workload& what : chosen.workloads) {
        outcomes.push_back(bench.measure(what));
        print(outcomes.back());
        std::fflush(stdout);
    }
    bool met = print_budgets(outcomes, compile_seconds);
    if (!chosen.json.empty()) {
        write_json(chosen, here, outcomes, compile_seconds);
    }
    return met || !chosen.check ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    // The compiler is to be timed, not a cache in front of it.
    ::setenv("CCACHE_DISABLE", "1", 1);
    try {
        return measure_all(parse(argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "echo: %s\n", error.what());
        return 1;
    }
}
