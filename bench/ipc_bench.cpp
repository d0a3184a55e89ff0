// ipc_bench.cpp: do Unix domain sockets beat loopback TCP between two processes, and by how much?
//
// Unix stream, datagram and seqpacket sockets, TCP over loopback and pipes, at several sizes: the
// time of a round trip, and the throughput one way. On gyre's engines uring and blocking, and by
// plain calls as the baseline. Every wire has its turn in every round, in an order that rotates; a
// turn is two fresh processes, each on a processor of its own.
//
// Run: ./dev bench ipc, or build/release/bench/ipc [--help].   Needs: Linux 5.11.

#include "compare/plots.hpp"
#include "compare/results.hpp"
#include "ipc/report.hpp"
#include "ipc/results.hpp"
#include "ipc/sides.hpp"
#include "ipc/wires.hpp"
#include "support/machine.hpp"
#include "support/options.hpp"
#include "support/programs.hpp"
#include "support/section.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using bench::compare::figure;
using bench::ipc::cell;
using bench::ipc::measured;
using bench::ipc::pattern;
using bench::ipc::results;
using bench::ipc::row;
using bench::ipc::turn;
using bench::ipc::way;
using bench::ipc::wire;

constexpr const char* usage =
    "usage: ipc [--rounds N] [--duration SECONDS] [--warm-up SECONDS] [--quick]\n"
    "           [--sizes LIST] [--json FILE] [--svg FOLDER] [--report FILE.md] [--from FILE]\n"
    "           [--first-cpu INDEX --second-cpu INDEX] [--revision TEXT]\n"
    "  --rounds    how often each has its turn in each case; default 7\n"
    "  --duration  what is measured in a turn; default 0.2 seconds\n"
    "  --quick     one short round: whether every message arrives; its figures say little\n"
    "  --sizes     bytes in a message; default 64,1024,16384,65536,1048576\n"
    "  --json      every single figure\n"
    "  --svg       plots, as FOLDER/ipc-*.svg\n"
    "  --report    a section of that page, in place of the one it has; the plots beside it\n"
    "  --from      measures nothing, but prints or draws what --json has written\n"
    "The exit code is 1 when a turn failed.\n";

constexpr double none = std::numeric_limits<double>::quiet_NaN();

struct settings {
    unsigned rounds = 7;
    double duration = 0.2;
    double warm_up = 0.05;
    std::vector<std::size_t> sizes = {64, 1024, 16384, 65536, 1048576};
    bench::processors processors = bench::first_processors();
    std::string revision = "unknown";
    std::string json;
    std::string svg;
    std::string report;
    std::string from;
};

std::chrono::nanoseconds nanoseconds(double seconds) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(seconds)
    );
}

// --- A turn ---

/// One side in a process of its own. Killed when it goes.
class side {
public:
    template <class Body>
    side(std::optional<int> cpu, Body body) {
        std::array<int, 2> ends = {};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
            bench::ipc::fail("pipe2");
        }
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::close(ends[0]);
            ::_exit(measure(cpu, body, ends[1]));
        }
        ::close(ends[1]);
        output_ = ends[0];
        if (pid_ < 0) {
            bench::ipc::fail("fork");
        }
    }
    side(const side&) = delete;
    side& operator=(const side&) = delete;
    ~side() {
        ::close(output_);
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }

    measured take(std::chrono::milliseconds limit) const {
        pollfd watched = {.fd = output_, .events = POLLIN, .revents = 0};
        if (::poll(&watched, 1, static_cast<int>(limit.count())) <= 0) {
            throw std::runtime_error("took too long");
        }
        // One write of less than PIPE_BUF: all of it is here, or a sentence instead.
        std::array<char, 512> text = {};
        const ssize_t size = ::read(output_, text.data(), text.size());
        measured made;
        if (size != sizeof made) {
            throw std::runtime_error(
                size > 0 ? std::string(text.data(), static_cast<std::size_t>(size))
                         : "ended without a word"
            );
        }
        std::memcpy(&made, text.data(), sizeof made);
        return made;
    }

private:
    template <class Body>
    static int measure(std::optional<int> cpu, Body& body, int to) {
        if (cpu) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(static_cast<unsigned>(*cpu), &set);
            ::sched_setaffinity(0, sizeof set, &set);
        }
        try {
            const measured made = body();
            return ::write(to, &made, sizeof made) == sizeof made ? 0 : 1;
        } catch (const std::exception& error) {
            const std::string text = std::string(error.what()).substr(0, 400);
            return ::write(to, text.data(), text.size()) > 0 ? 1 : 2;
        }
    }

    pid_t pid_ = -1;
    int output_ = -1;
};

struct both_sides {
    measured first;
    measured second;
};

both_sides drive(const turn& chosen, const bench::processors& processors) {
    bench::ipc::both_ends ends = bench::ipc::connected(chosen.over);
    // Each process has the other's end as well, until it lets go of it: or nobody would see the
    // other one die.
    const side second(processors.load, [&] {
        ends.first = {};
        return bench::ipc::second_side(chosen, std::move(ends.second));
    });
    const side first(processors.server, [&] {
        ends.second = {};
        return bench::ipc::first_side(chosen, std::move(ends.first));
    });
    ends = {};
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(
        chosen.warm_up + chosen.duration + std::chrono::seconds(20)
    );
    both_sides made;
    made.first = first.take(limit);
    made.second = second.take(limit);
    return made;
}

// --- All turns ---

class ipc_bench {
public:
    ipc_bench(const settings& chosen, results& found) : settings_(chosen), found_(found) {}

    void measure() {
        prepare();
        std::size_t turns = 0;
        for (const cell& each : found_.cells) {
            turns += each.rows.size();
        }
        const auto began = std::chrono::steady_clock::now();
        for (unsigned round = 0; round < settings_.rounds; ++round) {
            std::fprintf(
                stderr,
                "ipc: round %u of %u, %zu turns, after %.0f s\n",
                round + 1,
                settings_.rounds,
                turns,
                seconds_since(began)
            );
            for (std::size_t at = 0; at < found_.cells.size(); ++at) {
                cell& where = found_.cells[at];
                for (std::size_t index = 0; index < where.rows.size(); ++index) {
                    take_turn(where, where.rows[(index + round + at) % where.rows.size()]);
                }
            }
        }
        found_.facts.emplace_back(
            "turns",
            std::to_string(settings_.rounds) + " of " + bench::compare::shown(settings_.duration) +
                " s for each wire, way and case, " +
                bench::compare::shown(seconds_since(began) / 60) + " minutes in all"
        );
    }

private:
    static double seconds_since(std::chrono::steady_clock::time_point began) {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    }

    void prepare() {
        for (const pattern what : {pattern::round_trip, pattern::one_way}) {
            for (const std::size_t size : settings_.sizes) {
                cell next = {.what = what, .size = size};
                for (const wire over :
                     {wire::unix_stream,
                      wire::unix_datagram,
                      wire::unix_seqpacket,
                      wire::tcp,
                      wire::pipe}) {
                    if (bench::ipc::kind_of(over).keeps_messages &&
                        size > bench::ipc::message_max) {
                        continue;
                    }
                    for (const way how : {way::by_hand, way::gyre_blocking, way::gyre_uring}) {
                        next.rows.push_back({.over = over, .how = how});
                    }
                }
                found_.cells.push_back(std::move(next));
            }
        }
    }

    // One that fails leaves a hole in each series and says why.
    void take_turn(const cell& where, row& into) const {
        std::array<double, 6> taken = {none, none, none, none, none, none};
        try {
            const both_sides made = drive(
                {.over = into.over,
                 .how = into.how,
                 .what = where.what,
                 .size = where.size,
                 .warm_up = nanoseconds(settings_.warm_up),
                 .duration = nanoseconds(settings_.duration)},
                settings_.processors
            );
            const auto messages = static_cast<double>(made.first.messages);
            const double first = static_cast<double>(made.first.cpu) / 1e3 / messages;
            const double second = static_cast<double>(made.second.cpu) / 1e3 /
                                  static_cast<double>(made.second.messages);
            taken = {
                first,
                second,
                first + second,
                messages / (static_cast<double>(made.first.elapsed) / 1e9),
                static_cast<double>(made.first.p50) / 1e3,
                static_cast<double>(made.first.p99) / 1e3,
            };
        } catch (const std::runtime_error& error) {
            const std::string who = where.name() + ": " + into.name();
            std::fprintf(stderr, "ipc: %s: %s\n", who.c_str(), error.what());
            into.all.failures.emplace_back(error.what());
        }
        into.first_cpu.push_back(taken[0]);
        into.second_cpu.push_back(taken[1]);
        into.all.of(figure::cpu).push_back(taken[2]);
        into.all.of(figure::rate).push_back(taken[3]);
        // One way, what a send takes says how full the wire is and no more.
        const bool round_trip = where.what == pattern::round_trip;
        into.all.of(figure::p50).push_back(round_trip ? taken[4] : none);
        into.all.of(figure::p99).push_back(round_trip ? taken[5] : none);
    }

    const settings& settings_;
    results& found_;
};

// --- The rest ---

settings parse(int argc, char** argv) {
    settings chosen;
    bench::options options(argc, argv, usage);
    while (options.next()) {
        if (options.is("--rounds")) {
            chosen.rounds = options.number(1U, 1000U);
        } else if (options.is("--duration")) {
            chosen.duration = options.number(0.001, 600.0);
        } else if (options.is("--warm-up")) {
            chosen.warm_up = options.number(0.0, 600.0);
        } else if (options.is("--quick")) {
            chosen.rounds = 1;
            chosen.duration = 0.01;
            chosen.warm_up = 0.002;
        } else if (options.is("--sizes")) {
            chosen.sizes.clear();
            std::istringstream list(options.text());
            for (std::string word; std::getline(list, word, ',');) {
                char* end = nullptr;
                const unsigned long size = std::strtoul(word.c_str(), &end, 10);
                if (*end != '\0' || size < bench::ipc::size_min || size > (1U << 24U)) {
                    options.fail("has a size below 64 or above 16 MiB");
                }
                chosen.sizes.push_back(size);
            }
        } else if (options.is("--json")) {
            chosen.json = options.text();
        } else if (options.is("--svg")) {
            chosen.svg = options.text();
        } else if (options.is("--report")) {
            chosen.report = options.text();
        } else if (options.is("--from")) {
            chosen.from = options.text();
        } else if (options.is("--first-cpu")) {
            chosen.processors.server = options.number(0, CPU_SETSIZE - 1);
        } else if (options.is("--second-cpu")) {
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

void describe(const settings& chosen, results& found) {
    const bench::machine here = bench::this_machine();
    const std::time_t now = std::time(nullptr);
    std::tm parts = {};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> date = {};
    std::strftime(date.data(), date.size(), "%Y-%m-%d", &parts);
    found.rounds = chosen.rounds;
    found.facts = {
        {"date", std::string(date.data()) + ", gyre " + chosen.revision},
        {"machine",
         here.processor + ", " + std::to_string(here.processors) + " processors, load average " +
             here.load_average + " before"},
        {"processes",
         chosen.processors.server && chosen.processors.load
             ? "the first on processor " + std::to_string(*chosen.processors.server) +
                   ", the second on " + std::to_string(*chosen.processors.load)
             : "nothing pinned"},
        {"kernel", here.kernel},
        {"compiler", here.compiler + ", `" + here.flags + "`"},
    };
}

std::string contents_of(const std::string& path) {
    std::ifstream file(path);
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

void write_plots(const results& found, const std::string& prefix) {
    for (const bench::compare::plot& each : bench::ipc::plots(found)) {
        write(prefix + "-" + each.name + ".svg", each.svg);
    }
}

int ipc(const settings& chosen) {
    results found;
    if (chosen.from.empty()) {
        describe(chosen, found);
        ipc_bench(chosen, found).measure();
        // Also what was just measured goes through its JSON, so that the same comes out of it later.
        found = bench::ipc::from_json(bench::ipc::to_json(found));
    } else {
        found = bench::ipc::from_json(contents_of(chosen.from));
    }
    if (chosen.from.empty() || (chosen.svg.empty() && chosen.report.empty())) {
        for (const auto& [name, text] : found.facts) {
            std::printf("%-10s %s\n", name.c_str(), text.c_str());
        }
        std::printf(
            "\n%s\n%s", bench::ipc::tables(found).c_str(), bench::ipc::answer(found).c_str()
        );
    }
    if (!chosen.json.empty()) {
        write(chosen.json, bench::ipc::to_json(found));
    }
    if (!chosen.svg.empty()) {
        write_plots(found, chosen.svg + "/ipc");
    }
    if (!chosen.report.empty()) {
        const std::string path = chosen.report.substr(0, chosen.report.rfind(".md"));
        const std::string stem = path.substr(path.rfind('/') + 1);
        write_plots(found, path + "-ipc");
        write(
            chosen.report,
            bench::with_section(contents_of(chosen.report), "ipc", bench::ipc::section(found, stem))
        );
    }
    for (const cell& each : found.cells) {
        for (const row& one : each.rows) {
            if (!one.all.failures.empty() || !one.all.has(figure::rate)) {
                return 1;
            }
        }
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return ipc(parse(argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "ipc: %s\n", error.what());
        return 1;
    }
}
