// udp_echo.cpp: sends every datagram back to whom it came from.
// Shows: datagram, signals, when_any.
// Run: ./udp_echo --listen 127.0.0.1:7000, then socat - UDP:127.0.0.1:7000; or on a Unix datagram
// socket, --listen unix:/run/echo.sock. SIGINT or SIGTERM ends it.
// Needs: Linux 5.11.

#include "options.hpp"
#include "udp_echo_session.hpp"

#include <gyre/gyre.hpp>

#include <csignal>
#include <cstdio>
#include <system_error>
#include <tuple>

namespace {

constexpr const char* usage = "usage: udp_echo --listen ENDPOINT [--engine NAME]";

struct settings {
    gyre::endpoint listen;
    gyre::scheduler_options scheduler;
};

settings read_settings(int count, char** arguments) {
    settings chosen;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--listen")) {
            chosen.listen = line.endpoint();
        } else if (line.is("--engine")) {
            chosen.scheduler.engine = line.engine();
        } else {
            line.unknown();
        }
    }
    line.require(chosen.listen.family() != gyre::address_family::unspecified, "--listen");
    return chosen;
}

gyre::task<int> serve(gyre::endpoint listen) {
    gyre::signals stop({SIGINT, SIGTERM});
    auto socket = gyre::datagram::bind(listen);
    const auto at = socket.local_endpoint();
    std::printf("listening on %s\n", at.value().to_string().c_str());
    std::fflush(stdout);

    // Whichever ends first: a signal, or the socket by an error.
    const auto ended = co_await gyre::when_any(samples::echo_messages(socket), stop.next());
    if (ended.index == 0) {
        const std::error_code error = std::get<0>(ended.outcomes).error();
        std::fprintf(stderr, "udp_echo: %s\n", gyre::describe(error).c_str());
        co_return 1;
    }
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    const settings chosen = read_settings(count, arguments);
    try {
        return gyre::run(chosen.scheduler, serve, chosen.listen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "udp_echo: %s\n", error.what());
        return 1;
    }
}
