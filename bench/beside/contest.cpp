#include "beside/contest.hpp"

#include "beside/report.hpp"
#include "beside/results.hpp"
#include "compare/results.hpp"
#include "support/machine.hpp"
#include "support/options.hpp"
#include "support/process.hpp"
#include "support/programs.hpp"
#include "support/section.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <ratio>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace bench::beside {

namespace {

using compare::figure;
using compare::series;
using compare::server_row;

constexpr const char* usage =
    "usage: %NAME% [--rounds N] [--duration SECONDS] [--quick]\n"
    "          [--json FILE] [--report FILE.md] [--from FILE]\n"
    "          [--server-cpu INDEX --load-cpu INDEX] [--revision TEXT]\n"
    "  --rounds    how often each server has its turn in each case; default 7\n"
    "  --duration  how long a turn is loaded, about; default 1 second\n"
    "  --quick     one short round: whether every server answers; its figures say little\n"
    "  --json      every single figure\n"
    "  --report    a section of that page, in place of the one it has\n"
    "  --from      measures nothing, but prints or draws what --json has written\n"
    "The exit code is 1 when a turn failed.\n";

constexpr double none = std::numeric_limits<double>::quiet_NaN();

struct settings {
    unsigned rounds = 7;
    double duration = 1;
    processors where = first_processors();
    std::string revision = "unknown";
    std::string json;
    std::string report;
    std::string from;
};

/// A folder that is gone with what is in it when this goes.
class scratch_folder {
public:
    scratch_folder() {
        const char* const base = std::getenv("TMPDIR");
        path_ = std::string(base != nullptr ? base : "/tmp") + "/gyre-bench-XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) {
            throw std::runtime_error(path_ + ": " + std::strerror(errno));
        }
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    ~scratch_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

sockaddr_in loopback(unsigned port) {
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

// One that nobody listens on. Not every server chooses a port itself and says which.
unsigned free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    if (fd < 0) {
        throw std::runtime_error("there is no socket to look for a free port with");
    }
    const bool known = ::bind(fd, reinterpret_cast<sockaddr*>(&at), size) == 0 &&
                       ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0;
    ::close(fd);
    if (!known) {
        throw std::runtime_error("there is no free port");
    }
    return ntohs(at.sin_port);
}

void wait_for_server(unsigned port) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (;;) {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            throw std::runtime_error("there is no socket to ask a server with");
        }
        const sockaddr_in at = loopback(port);
        const int status = ::connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at);
        ::close(fd);
        if (status == 0) {
            return;
        }
        if (std::chrono::steady_clock::now() > deadline) {
            throw std::runtime_error("does not listen");
        }
        const timespec moment = {.tv_sec = 0, .tv_nsec = 10'000'000};
        ::nanosleep(&moment, nullptr);
    }
}

class measuring {
public:
    measuring(const contest& chosen, const settings& how, results& found)
        : contest_(chosen), settings_(how), found_(found) {}

    void measure() {
        found_.rounds = settings_.rounds;
        found_.rows = contest_.rows();
        for (const std::string& name : contest_.cells()) {
            cell next = {.name = name};
            for (const server_row& row : found_.rows) {
                if (row.skipped.empty()) {
                    series one;
                    one.row = row.key;
                    next.rows.push_back(one);
                } else {
                    std::fprintf(
                        stderr, "%s: skipped: %s\n", row.name.c_str(), row.skipped.c_str()
                    );
                }
            }
            found_.cells.push_back(next);
        }
        for (unsigned round = 0; round < settings_.rounds; ++round) {
            std::fprintf(stderr, "round %u of %u\n", round + 1, settings_.rounds);
            for (std::size_t at = 0; at < found_.cells.size(); ++at) {
                std::vector<series>& rows = found_.cells[at].rows;
                for (std::size_t index = 0; index < rows.size(); ++index) {
                    take_turn(at, rows[(index + round + at) % rows.size()]);
                }
            }
        }
    }

private:
    // One that fails leaves a hole in each series and says why.
    void take_turn(std::size_t at, series& into) const {
        std::array<double, 5> figures = {none, none, none, none, none};
        try {
            figures = turn(at, row_of(into.row));
        } catch (const std::runtime_error& error) {
            std::fprintf(
                stderr,
                "%s: %s: %s\n",
                found_.cells[at].name.c_str(),
                row_of(into.row).name.c_str(),
                error.what()
            );
            into.failures.emplace_back(error.what());
        }
        constexpr std::array<figure, 5> order = {
            figure::cpu, figure::rate, figure::p50, figure::p99, figure::memory
        };
        for (std::size_t index = 0; index < order.size(); ++index) {
            into.of(order.at(index)).push_back(figures.at(index));
        }
    }

    [[nodiscard]] std::array<double, 5> turn(std::size_t at, const server_row& row) const {
        const scratch_folder folder;
        const unsigned port = free_port();
        process server(contest_.server(row, port, folder.path()), settings_.where.server);
        wait_for_server(port);
        contest_.try_out(port, settings_.where.load);
        const auto before = server.cpu_time();
        const outcome made = contest_.load(at, port, settings_.duration, settings_.where.load);
        const std::chrono::duration<double, std::micro> used = server.cpu_time() - before;
        const double memory = server.peak_memory();
        server.terminate();
        static_cast<void>(server.finish(std::chrono::seconds(20)));
        if (server.exit_code() != 0) {
            throw std::runtime_error("ended with exit code " + std::to_string(server.exit_code()));
        }
        if (made.requests <= 0) {
            throw std::runtime_error("answered nothing");
        }
        return {used.count() / made.requests, made.rate, made.p50, made.p99, memory};
    }

    [[nodiscard]] const server_row& row_of(const std::string& key) const {
        for (const server_row& row : found_.rows) {
            if (row.key == key) {
                return row;
            }
        }
        throw std::logic_error(key);
    }

    const contest& contest_;
    const settings& settings_;
    results& found_;
};

settings parse(const std::string& name, int argc, char** argv) {
    std::string help = usage;
    help.replace(help.find("%NAME%"), std::strlen("%NAME%"), name);
    settings chosen;
    options line(argc, argv, help.c_str());
    while (line.next()) {
        if (line.is("--rounds")) {
            chosen.rounds = line.number(1U, 1000U);
        } else if (line.is("--duration")) {
            chosen.duration = line.number(0.01, 600.0);
        } else if (line.is("--quick")) {
            chosen.rounds = 1;
            chosen.duration = 0.05;
        } else if (line.is("--json")) {
            chosen.json = line.text();
        } else if (line.is("--report")) {
            chosen.report = line.text();
        } else if (line.is("--from")) {
            chosen.from = line.text();
        } else if (line.is("--server-cpu")) {
            chosen.where.server = line.number(0, CPU_SETSIZE - 1);
        } else if (line.is("--load-cpu")) {
            chosen.where.load = line.number(0, CPU_SETSIZE - 1);
        } else if (line.is("--revision")) {
            chosen.revision = line.text();
        } else {
            line.unknown();
        }
    }
    if (chosen.where.server.has_value() != chosen.where.load.has_value()) {
        line.fail("goes with the other one of --server-cpu and --load-cpu");
    }
    return chosen;
}

void describe(const settings& chosen, results& found) {
    const machine here = this_machine();
    const std::time_t now = std::time(nullptr);
    std::tm parts = {};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> date = {};
    std::strftime(date.data(), date.size(), "%Y-%m-%d", &parts);
    found.facts = {
        {"date", std::string(date.data()) + ", gyre " + chosen.revision},
        {"machine",
         here.processor + ", " + std::to_string(here.processors) + " processors, load average " +
             here.load_average + " before"},
        {"processors",
         chosen.where.server && chosen.where.load
             ? "the server on number " + std::to_string(*chosen.where.server) +
                   ", the load on number " + std::to_string(*chosen.where.load)
             : "nothing pinned"},
        {"kernel", here.kernel},
        {"compiler", here.compiler + ", `" + here.flags + "`"},
        {"turns",
         std::to_string(chosen.rounds) + " of about " + compare::shown(chosen.duration) +
             " s for each server and case, in an order that rotates"},
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

int work(const contest& chosen, const settings& how) {
    const wording words = chosen.words();
    results found;
    if (how.from.empty()) {
        describe(how, found);
        measuring(chosen, how, found).measure();
        // Also what was just measured goes through its JSON, so that the same comes out of it later.
        found = from_json(to_json(found, words.name));
    } else {
        found = from_json(contents_of(how.from));
    }
    if (how.from.empty() || how.report.empty()) {
        for (const auto& [name, text] : found.facts) {
            std::printf("%-10s %s\n", name.c_str(), text.c_str());
        }
        std::printf("\n%s%s", tables(found).c_str(), answer(found).c_str());
    }
    if (!how.json.empty()) {
        write(how.json, to_json(found, words.name));
    }
    if (!how.report.empty()) {
        const std::string path = how.report.substr(0, how.report.rfind(".md"));
        const std::string text = section(found, words, path.substr(path.rfind('/') + 1));
        write(how.report, with_section(contents_of(how.report), words.name, text));
    }
    for (const cell& each : found.cells) {
        for (const series& one : each.rows) {
            if (!one.failures.empty() || !one.has(figure::rate)) {
                return 1;
            }
        }
    }
    return 0;
}

} // namespace

std::vector<server_row> engines_of(const std::string& sample) {
    std::vector<server_row> rows;
    for (const char* engine : {"uring", "epoll", "blocking"}) {
        rows.push_back({
            .key = std::string("gyre-") + engine,
            .name = std::string("gyre ") + engine,
            .command = sample + " --engine " + engine,
            .built_on = "gyre",
        });
    }
    return rows;
}

std::string path_of(const std::string& program) {
    // Servers of the system are not where every user looks.
    const char* const path = std::getenv("PATH");
    std::istringstream folders((path != nullptr ? path : "") + std::string(":/usr/sbin:/sbin"));
    for (std::string folder; std::getline(folders, folder, ':');) {
        if (folder.empty()) {
            continue;
        }
        folder += '/';
        folder += program;
        if (::access(folder.c_str(), X_OK) == 0) {
            return folder;
        }
    }
    return "";
}

int run(const contest& chosen, int argc, char** argv) {
    const std::string name = chosen.words().name;
    try {
        return work(chosen, parse(name, argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
        return 1;
    }
}

} // namespace bench::beside
