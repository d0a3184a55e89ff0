// kv_bench.cpp: what does a request cost kv_server on gyre's engines, and what redis-server?
//
// The load is redis-benchmark: GET and SET of three bytes over 50 connections, one and 16 requests on
// their way on each. Every server has its turn in every round, in an order that rotates; a turn is a
// fresh process on a processor of its own.
//
// Run: ./dev bench kv, or build/release/bench/kv [--help].   Needs: Linux 5.11, redis-benchmark; and
// redis-server, which is skipped where it is not.

#include "beside/contest.hpp"
#include "beside/report.hpp"
#include "compare/results.hpp"
#include "support/process.hpp"
#include "support/programs.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using bench::command;
using bench::beside::outcome;
using bench::compare::server_row;

struct kind {
    const char* name;
    const char* test;
    unsigned pipeline;
};

constexpr std::array<kind, 4> kinds = {{
    {.name = "GET, pipeline 1", .test = "get", .pipeline = 1},
    {.name = "SET, pipeline 1", .test = "set", .pipeline = 1},
    {.name = "GET, pipeline 16", .test = "get", .pipeline = 16},
    {.name = "SET, pipeline 16", .test = "set", .pipeline = 16},
}};

class kv_contest final : public bench::beside::contest {
public:
    [[nodiscard]] bench::beside::wording words() const override {
        return {
            .name = "kv",
            .title = "Keys and values, beside Redis",
            .question = "What does a request cost the sample `kv_server`, beside redis-server?",
            .remarks =
                "The load is redis-benchmark: 50 connections, one key, a value of three bytes. A "
                "turn is a fresh process\non one processor, the load is on another; CPU is all of "
                "the process between the first and the last request,\nconnecting included. Redis "
                "keeps nothing on disk here, and does more than the sample where it looks after\n"
                "many types, scripts, replicas and memory."
        };
    }

    [[nodiscard]] std::vector<server_row> rows() const override {
        std::vector<server_row> rows = bench::beside::engines_of("kv_server");
        server_row redis = {
            .key = "redis",
            .name = "redis-server",
            .command = "redis-server --save \"\" --appendonly no",
        };
        const std::string path = bench::beside::path_of("redis-server");
        if (path.empty()) {
            redis.skipped = "there is no redis-server";
        } else {
            const std::string said =
                bench::run({path, "--version"}, std::nullopt, std::chrono::seconds(10));
            const std::size_t at = said.find("v=");
            redis.built_on = at == std::string::npos
                                 ? "?"
                                 : "Redis " + said.substr(at + 2, said.find(' ', at) - at - 2);
        }
        rows.push_back(redis);
        return rows;
    }

    [[nodiscard]] std::vector<std::string> cells() const override {
        std::vector<std::string> names;
        names.reserve(kinds.size());
        for (const kind& each : kinds) {
            names.emplace_back(each.name);
        }
        return names;
    }

    [[nodiscard]] command
    server(const server_row& row, unsigned port, const std::string& folder) const override {
        if (row.is_gyre()) {
            return bench::extended(
                bench::split(bench::own_folder() + "../samples/" + row.command),
                {"--listen", "127.0.0.1:" + std::to_string(port)}
            );
        }
        return {
            bench::beside::path_of("redis-server"),
            "--bind",
            "127.0.0.1",
            "--port",
            std::to_string(port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--loglevel",
            "warning",
            "--dir",
            folder,
        };
    }

    // The SET is what every GET finds.
    void try_out(unsigned port, std::optional<int> cpu) const override {
        static_cast<void>(drive({.name = "", .test = "set", .pipeline = 1}, port, 2000, cpu));
        static_cast<void>(drive({.name = "", .test = "get", .pipeline = 16}, port, 2000, cpu));
    }

    [[nodiscard]] outcome
    load(std::size_t cell, unsigned port, double seconds, std::optional<int> cpu) const override {
        const kind& what = kinds.at(cell);
        // It counts requests and not seconds: how many those are is found out first.
        const unsigned first = 5000 * what.pipeline;
        const outcome slow = drive(what, port, first, cpu);
        const double wanted = slow.rate * seconds;
        const auto count =
            static_cast<unsigned>(std::clamp(wanted, static_cast<double>(first), 1e8));
        outcome made = drive(what, port, count, cpu);
        // The server's processor clock runs over both.
        made.requests += slow.requests;
        return made;
    }

private:
    static outcome
    drive(const kind& what, unsigned port, unsigned requests, std::optional<int> cpu) {
        const std::string said = bench::run(
            {"redis-benchmark",
             "-h",
             "127.0.0.1",
             "-p",
             std::to_string(port),
             "-c",
             "50",
             "-n",
             std::to_string(requests),
             "-P",
             std::to_string(what.pipeline),
             "-d",
             "3",
             "-t",
             what.test,
             "--csv"},
            cpu,
            std::chrono::seconds(120)
        );
        // "GET","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95...","p99...","max..."
        std::istringstream lines(said);
        std::string values;
        for (std::string line; std::getline(lines, line);) {
            values = line.rfind("\"GET\"", 0) == 0 || line.rfind("\"SET\"", 0) == 0 ? line : values;
        }
        std::vector<double> numbers;
        std::istringstream words(values);
        for (std::string word; std::getline(words, word, ',');) {
            numbers.push_back(std::strtod(word.c_str() + 1, nullptr));
        }
        if (numbers.size() < 7 || numbers[1] <= 0) {
            throw std::runtime_error("redis-benchmark says \"" + said.substr(0, 200) + "\"");
        }
        return {
            .requests = static_cast<double>(requests),
            .rate = numbers[1],
            .p50 = numbers[4] * 1e3,
            .p99 = numbers[6] * 1e3,
        };
    }
};

} // namespace

int main(int argc, char** argv) {
    return bench::beside::run(kv_contest(), argc, argv);
}
