// resolve.cpp: prints the endpoints of a service on a host, one a line, the best first.
// Shows: resolve, a time limit, and signals as something to wait for beside it.
// Run: ./resolve example.org https.   SIGINT ends it at once, whatever a name server does.
// Needs: Linux 5.11.

#include "options.hpp"

#include <gyre/gyre.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>
#include <tuple>

namespace {

constexpr const char* usage = "usage: resolve HOST [SERVICE] [--ipv4] [--ipv6] [--udp] "
                              "[--timeout SECONDS] [--engine NAME]";

struct question {
    const char* host = nullptr;
    const char* service = "";
    gyre::resolve_options options;
    std::chrono::nanoseconds limit = std::chrono::nanoseconds::max();
};

gyre::task<int> print_endpoints(question asked, gyre::signals& interrupts) {
    const auto ended = co_await gyre::when_any(
        gyre::with_timeout(gyre::resolve(asked.host, asked.service, asked.options), asked.limit),
        interrupts.next()
    );
    if (ended.index == 1) {
        co_return 128 + SIGINT; // As a shell says it.
    }
    const auto& found = std::get<0>(ended.outcomes);
    if (!found) {
        std::fprintf(
            stderr, "resolve: %s: %s\n", asked.host, gyre::describe(found.error()).c_str()
        );
        co_return 1;
    }
    for (const gyre::endpoint& each : *found) {
        std::printf("%s\n", each.to_string().c_str());
    }
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    question asked;
    gyre::scheduler_options scheduler;
    samples::options line(count, arguments, usage);
    int places = 0;
    while (line.next()) {
        if (line.is("--ipv4")) {
            asked.options.family = gyre::address_family::ipv4;
        } else if (line.is("--ipv6")) {
            asked.options.family = gyre::address_family::ipv6;
        } else if (line.is("--udp")) {
            asked.options.datagram = true;
        } else if (line.is("--timeout")) {
            asked.limit = line.seconds();
        } else if (line.is("--engine")) {
            scheduler.engine = line.engine();
        } else if (!line.is_operand() || places == 2) {
            line.unknown();
        } else {
            (places++ == 0 ? asked.host : asked.service) = line.operand();
        }
    }
    line.require(asked.host != nullptr, "HOST");
    try {
        gyre::signals interrupts({SIGINT});
        return gyre::run(scheduler, [&] { return print_endpoints(asked, interrupts); });
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "resolve: %s\n", error.what());
        return 1;
    }
}
