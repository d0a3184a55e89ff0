// echo_server.cpp: sends every byte back, to as many clients as come.
// Shows: listener, serve and its drain, a wait that ends when the server shall, time limits.
// Run: ./echo_server --listen 127.0.0.1:7000, then nc 127.0.0.1 7000. SIGINT or SIGTERM ends it.
// Needs: Linux 5.11.

#include "echo_session.hpp"
#include "options.hpp"

#include <gyre/gyre.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <utility>

namespace {

constexpr const char* usage = "usage: echo_server --listen ENDPOINT [--engine NAME] "
                              "[--idle-timeout SECONDS] [--max-connections N] [--report]";

struct settings {
    gyre::endpoint listen;
    gyre::scheduler_options scheduler;
    gyre::serve_options serve = {.stop_on_signals = true, .drain_for = std::chrono::seconds(5)};
    std::chrono::nanoseconds idle_limit = std::chrono::nanoseconds::max();
    bool report = false;
};

settings read_settings(int count, char** arguments) {
    settings chosen;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--listen")) {
            chosen.listen = line.endpoint();
        } else if (line.is("--engine")) {
            chosen.scheduler.engine = line.engine();
        } else if (line.is("--idle-timeout")) {
            chosen.idle_limit = line.seconds();
        } else if (line.is("--max-connections")) {
            chosen.serve.connections_max = line.number(1, 1'000'000'000);
        } else if (line.is("--report")) {
            chosen.report = true;
        } else {
            line.unknown();
        }
    }
    line.require(chosen.listen.family() != gyre::address_family::unspecified, "--listen");
    return chosen;
}

gyre::task<int> serve_echo(settings chosen) {
    auto listener = gyre::listener::bind(chosen.listen);
    const auto at = listener.local_endpoint();
    std::printf("listening on %s\n", at.value().to_string().c_str());
    std::fflush(stdout);

    const auto session = [limit = chosen.idle_limit](gyre::stream peer) {
        return samples::echo(std::move(peer), limit);
    };
    co_await gyre::serve(listener, session, chosen.serve);

    if (chosen.report) {
        const gyre::scheduler& here = gyre::scheduler::current();
        std::printf("%s%s", here.report().text().c_str(), here.counters().text().c_str());
    }
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    const settings chosen = read_settings(count, arguments);
    try {
        // `serve` takes the signals while it serves. Blocked here, one that comes a moment before
        // or after does not kill the process.
        const gyre::signals blocked({SIGINT, SIGTERM});
        return gyre::run(chosen.scheduler, serve_echo, chosen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "echo_server: %s\n", error.what());
        return 1;
    }
}
