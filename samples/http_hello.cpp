// http_hello.cpp: answers every request with "Hello, World!", over HTTP/1.1.
// Shows: requests in any pieces, pipelining with one send for many answers, time limits.
// Run: ./http_hello --listen 127.0.0.1:8000, then curl http://127.0.0.1:8000/. SIGINT or SIGTERM ends
//      it.
// Limits: the head of a request has at most 16 KiB; a body is dropped, and refused above 64 KiB or
//      without a Content-Length.
// Needs: Linux 5.11.

#include "http_hello_session.hpp"
#include "options.hpp"

#include <gyre/gyre.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <utility>

namespace {

constexpr const char* usage = "usage: http_hello --listen ENDPOINT [--engine NAME] "
                              "[--idle-timeout SECONDS] [--max-connections N]";

struct settings {
    gyre::endpoint listen;
    gyre::scheduler_options scheduler;
    gyre::serve_options serve = {.stop_on_signals = true, .drain_for = std::chrono::seconds(5)};
    std::chrono::nanoseconds patience = std::chrono::seconds(30);
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
            chosen.patience = line.seconds();
        } else if (line.is("--max-connections")) {
            chosen.serve.connections_max = line.number(1, 1'000'000'000);
        } else {
            line.unknown();
        }
    }
    line.require(chosen.listen.family() != gyre::address_family::unspecified, "--listen");
    return chosen;
}

gyre::task<int> serve_hello(settings chosen) {
    auto listener = gyre::listener::bind(chosen.listen);
    const auto at = listener.local_endpoint();
    std::printf("listening on %s\n", at.value().to_string().c_str());
    std::fflush(stdout);

    samples::greeting hello;
    const auto session = [&hello, patience = chosen.patience](gyre::stream peer) {
        return samples::serve_greetings(std::move(peer), hello, patience);
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
        return gyre::run(chosen.scheduler, serve_hello, chosen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "http_hello: %s\n", error.what());
        return 1;
    }
}
