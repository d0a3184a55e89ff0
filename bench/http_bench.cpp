// http_bench.cpp: what does a request cost http_hello on gyre's engines, and what nginx?
//
// The load is wrk: 64 connections, one and 16 requests on their way on each. nginx answers with the
// same body, from memory, with one worker. Every server has its turn in every round, in an order that
// rotates; a turn is a fresh process on a processor of its own.
//
// Run: ./dev bench http, or build/release/bench/http [--help].   Needs: Linux 5.11, wrk; and nginx,
// which is skipped where it is not.

#include "beside/contest.hpp"
#include "beside/report.hpp"
#include "compare/results.hpp"
#include "support/process.hpp"
#include "support/programs.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

using bench::command;
using bench::beside::outcome;
using bench::compare::server_row;

constexpr std::array<unsigned, 2> pipelines = {1, 16};
constexpr const char* body = "Hello, World!\n";

// In one process, which has no worker besides it to look after, or to leave behind.
constexpr const char* configuration = R"(
daemon off;
master_process off;
worker_processes 1;
pid %FOLDER%/pid;
error_log stderr error;
events { worker_connections 1024; }
http {
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    client_body_temp_path %FOLDER%/body;
    proxy_temp_path %FOLDER%/proxy;
    fastcgi_temp_path %FOLDER%/fastcgi;
    uwsgi_temp_path %FOLDER%/uwsgi;
    scgi_temp_path %FOLDER%/scgi;
    server {
        listen 127.0.0.1:%PORT%;
        location / { return 200 "Hello, World!\n"; }
    }
}
)";

constexpr const char* script = R"(
init = function(arguments)
    local each = {}
    for index = 1, tonumber(arguments[1]) do each[index] = wrk.format() end
    all = table.concat(each)
end
request = function() return all end
)";

std::string replaced(std::string text, const std::string& mark, const std::string& by) {
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
        text.replace(at, mark.size(), by);
        at += by.size();
    }
    return text;
}

void write(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    file.close();
    if (!file) {
        throw std::runtime_error(path + ": cannot be written");
    }
}

// What follows a word, as microseconds: "610.00us", "1.13ms", "2.00s".
double time_after(const std::string& text, const std::string& word) {
    const std::size_t at = text.find(word);
    if (at == std::string::npos) {
        throw std::runtime_error("wrk says nothing of " + word);
    }
    char* unit = nullptr;
    const double value = std::strtod(text.c_str() + at + word.size(), &unit);
    const std::string_view name(unit);
    return name.substr(0, 2) == "us"   ? value
           : name.substr(0, 2) == "ms" ? value * 1e3
                                       : value * 1e6;
}

class http_contest final : public bench::beside::contest {
public:
    [[nodiscard]] bench::beside::wording words() const override {
        return {
            .name = "http",
            .title = "HTTP, beside nginx",
            .question = "What does a request cost the sample `http_hello`, beside nginx?",
            .remarks =
                "The load is `wrk -t1 -c64`, with 16 requests at once where they are pipelined. A "
                "turn is a fresh process on\none processor, the load is on another; CPU is all of "
                "the process while wrk runs, connecting included. nginx runs\nwith one worker and "
                "without a log, and answers with the same body from its configuration; its head is "
                "longer\nby a `Server` line, and it sends each of the pipelined answers on its "
                "own, "
                "where `http_hello` sends what came\ntogether together."
        };
    }

    [[nodiscard]] std::vector<server_row> rows() const override {
        std::vector<server_row> rows = bench::beside::engines_of("http_hello");
        server_row nginx = {
            .key = "nginx",
            .name = "nginx",
            .command = "nginx, worker_processes 1, master_process off, return 200",
        };
        const std::string path = bench::beside::path_of("nginx");
        if (path.empty()) {
            nginx.skipped = "there is no nginx";
        } else {
            bench::process version({path, "-v"}, std::nullopt, bench::process::errors_to::here);
            static_cast<void>(version.finish(std::chrono::seconds(10)));
            const std::string said = version.errors();
            nginx.built_on = said.substr(said.find('/') + 1);
            nginx.built_on = "nginx " + nginx.built_on.substr(0, nginx.built_on.find('\n'));
        }
        rows.push_back(nginx);
        return rows;
    }

    [[nodiscard]] std::vector<std::string> cells() const override {
        std::vector<std::string> names;
        names.reserve(pipelines.size());
        for (const unsigned pipeline : pipelines) {
            names.push_back("GET, pipeline " + std::to_string(pipeline));
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
        const std::string file = folder + "/nginx.conf";
        write(
            file,
            replaced(replaced(configuration, "%FOLDER%", folder), "%PORT%", std::to_string(port))
        );
        return {bench::beside::path_of("nginx"), "-p", folder, "-c", file};
    }

    void try_out(unsigned port, std::optional<int>) const override {
        const std::string said = first_answer(port);
        const bool whole = said.rfind("HTTP/1.1 200 OK\r\n", 0) == 0 &&
                           said.find("\r\nDate: ") != std::string::npos &&
                           said.find("\r\nContent-Length: 14\r\n") != std::string::npos &&
                           said.ends_with(std::string("\r\n\r\n") + body);
        if (!whole) {
            throw std::runtime_error("answers \"" + said.substr(0, 300) + "\"");
        }
    }

    [[nodiscard]] outcome
    load(std::size_t cell, unsigned port, double seconds, std::optional<int> cpu) const override {
        const auto whole_seconds = static_cast<unsigned>(std::max(1.0, std::ceil(seconds)));
        const command line = {
            "wrk",
            "-t1",
            "-c64",
            "-d" + std::to_string(whole_seconds) + "s",
            "--latency",
        };
        const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/";
        const std::string file = bench::own_folder() + "http_pipeline.lua";
        command more = {url};
        if (pipelines.at(cell) != 1) {
            write(file, script);
            more = {"-s", file, url, "--", std::to_string(pipelines.at(cell))};
        }
        const std::string said =
            bench::run(bench::extended(line, more), cpu, std::chrono::seconds(whole_seconds + 30));
        const std::size_t requests = said.find(" requests in ");
        const std::size_t rate = said.find("Requests/sec:");
        const bool failed = said.find("Socket errors") != std::string::npos ||
                            said.find("Non-2xx") != std::string::npos;
        if (failed || requests == std::string::npos || rate == std::string::npos) {
            throw std::runtime_error("wrk says \"" + said + "\"");
        }
        return {
            .requests = std::strtod(said.c_str() + said.rfind('\n', requests) + 1, nullptr),
            .rate = std::strtod(said.c_str() + rate + 13, nullptr),
            .p50 = time_after(said, " 50% "),
            .p99 = time_after(said, " 99% "),
        };
    }

private:
    static std::string first_answer(unsigned port) {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            throw std::runtime_error("there is no socket to ask a server with");
        }
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_port = htons(static_cast<std::uint16_t>(port));
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const timeval limit = {.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        constexpr std::string_view asked =
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        std::string said;
        if (::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 &&
            ::send(fd, asked.data(), asked.size(), MSG_NOSIGNAL) > 0) {
            std::array<char, 4096> piece = {};
            ssize_t count = 0;
            while ((count = ::recv(fd, piece.data(), piece.size(), 0)) > 0) {
                said.append(piece.data(), static_cast<std::size_t>(count));
            }
        }
        ::close(fd);
        return said;
    }
};

} // namespace

int main(int argc, char** argv) {
    return bench::beside::run(http_contest(), argc, argv);
}
