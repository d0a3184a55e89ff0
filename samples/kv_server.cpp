// kv_server.cpp: keeps strings by key and speaks the protocol of Redis (RESP2): GET, SET, DEL, INCR,
// MGET, MSET, EXPIRE, TTL, PING, ECHO, INFO, QUIT.
// Shows: commands in any pieces, pipelining with one send for many replies, limits, a task beside
// serve.
// Run: ./kv_server --listen 127.0.0.1:6380, then redis-cli -p 6380, or nc 127.0.0.1 6380 and type.
//      SIGINT or SIGTERM ends it; what it kept is gone then.
// Limits: an argument has at most 64 MiB (--value-max), a command 64 MiB more and 65536 arguments,
//      an inline command 64 KiB. What is kept has none, so it is for clients that one trusts.
// Needs: Linux 5.11.

#include "kv/commands.hpp"
#include "kv/resp.hpp"
#include "kv_session.hpp"
#include "options.hpp"

#include <gyre/gyre.hpp>
#include <gyre/ring/engine.hpp>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <system_error>
#include <utility>

namespace {

constexpr const char* usage =
    "usage: kv_server --listen ENDPOINT [--engine NAME] [--idle-timeout SECONDS] "
    "[--max-connections N] [--value-max BYTES]";

struct settings {
    gyre::endpoint listen;
    gyre::scheduler_options scheduler;
    gyre::serve_options serve = {.stop_on_signals = true, .drain_for = std::chrono::seconds(5)};
    std::chrono::nanoseconds idle_limit = std::chrono::nanoseconds::max();
    samples::resp::limits limits;
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
        } else if (line.is("--value-max")) {
            chosen.limits.bulk_max = line.number(1, std::size_t{512} << 20U);
            chosen.limits.command_max = chosen.limits.bulk_max + (std::size_t{64} << 20U);
        } else {
            line.unknown();
        }
    }
    line.require(chosen.listen.family() != gyre::address_family::unspecified, "--listen");
    return chosen;
}

gyre::task<int> serve_keys(settings chosen) {
    auto listener = gyre::listener::bind(chosen.listen);
    samples::kv::state server;
    server.limits = chosen.limits;
    server.engine = gyre::engine_name(gyre::scheduler::current().report().engine);
    server.endpoint = listener.local_endpoint().value().to_string();
    server.started = samples::kv_now();
    std::printf("listening on %s\n", server.endpoint.c_str());
    std::fflush(stdout);

    const auto session = [&server, limit = chosen.idle_limit](gyre::stream peer) {
        return samples::serve_commands(std::move(peer), server, limit);
    };
    // It is serve that ends, by a signal; the other one ends with it.
    const auto ended = co_await gyre::when_any(
        gyre::serve(listener, session, chosen.serve), samples::expire_keys(server)
    );
    static_cast<void>(ended);
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    const settings chosen = read_settings(count, arguments);
    try {
        // `serve` takes the signals while it serves. Blocked here, one that comes a moment before
        // or after does not kill the process.
        const gyre::signals blocked({SIGINT, SIGTERM});
        return gyre::run(chosen.scheduler, serve_keys, chosen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "kv_server: %s\n", error.what());
        return 1;
    }
}
