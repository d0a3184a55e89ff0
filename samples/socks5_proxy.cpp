// socks5_proxy.cpp: connects its clients to whatever host and port they ask for (SOCKS 5, RFC 1928).
// Shows: connect_to, buffered_reader, copy in both directions with half-close, when_all, with_timeout.
// Run: ./socks5_proxy --listen 127.0.0.1:1080, then
//      curl --socks5-hostname 127.0.0.1:1080 http://example.org. SIGINT or SIGTERM ends it.
// Needs: Linux 5.11. It asks nobody who they are: listen where only friends can connect.

#include "options.hpp"
#include "socks5_session.hpp"

#include <gyre/gyre.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <utility>

namespace {

constexpr const char* usage = "usage: socks5_proxy --listen ENDPOINT [--engine NAME] "
                              "[--timeout SECONDS] [--max-connections N]";

struct settings {
    gyre::endpoint listen;
    gyre::scheduler_options scheduler;
    gyre::serve_options serve = {.stop_on_signals = true, .drain_for = std::chrono::seconds(5)};
    std::chrono::nanoseconds patience = std::chrono::seconds(10);
};

settings read_settings(int count, char** arguments) {
    settings chosen;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--listen")) {
            chosen.listen = line.endpoint();
        } else if (line.is("--engine")) {
            chosen.scheduler.engine = line.engine();
        } else if (line.is("--timeout")) {
            chosen.patience = line.seconds(); // Of the request, and of the connection it asks for.
        } else if (line.is("--max-connections")) {
            chosen.serve.connections_max = line.number(1, 1'000'000'000);
        } else {
            line.unknown();
        }
    }
    line.require(chosen.listen.family() != gyre::address_family::unspecified, "--listen");
    return chosen;
}

gyre::task<int> serve_proxy(settings chosen) {
    auto listener = gyre::listener::bind(chosen.listen);
    const auto at = listener.local_endpoint();
    std::printf("listening on %s\n", at.value().to_string().c_str());
    std::fflush(stdout);

    const auto session = [patience = chosen.patience](gyre::stream client) {
        return samples::socks5(std::move(client), patience);
    };
    co_await gyre::serve(listener, session, chosen.serve);
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    const settings chosen = read_settings(count, arguments);
    try {
        // `serve` takes the signals while it serves. Blocked here, one that comes a moment before
        // or after does not kill the process.
        const gyre::signals blocked({SIGINT, SIGTERM});
        return gyre::run(chosen.scheduler, serve_proxy, chosen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "socks5_proxy: %s\n", error.what());
        return 1;
    }
}
