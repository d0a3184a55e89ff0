// echo_client.cpp: sends its input to an echo server and prints what comes back.
// Shows: connect, sending and receiving at the same time, half-close, or_return, the raw layer.
// Run: ./echo_client --connect 127.0.0.1:7000 < FILE | cmp - FILE.   Needs: Linux 5.11.

#include "echo_client_session.hpp"
#include "options.hpp"

#include <gyre/gyre.hpp>

#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

#include <unistd.h>

namespace {

constexpr const char* usage = "usage: echo_client --connect ENDPOINT [--engine NAME]";

gyre::task<int> talk(gyre::endpoint to) {
    std::string failed = "connect " + to.to_string();
    auto connected = co_await gyre::stream::connect(to);
    std::error_code error = connected.error();
    if (connected) {
        failed = to.to_string();
        const auto ended =
            co_await samples::echo_client(*std::move(connected), STDIN_FILENO, STDOUT_FILENO);
        error = ended.error();
    }
    if (error) {
        std::fprintf(
            stderr, "echo_client: %s: %s\n", failed.c_str(), gyre::describe(error).c_str()
        );
        co_return 1;
    }
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    gyre::endpoint to;
    gyre::scheduler_options scheduler;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--connect")) {
            to = line.endpoint();
        } else if (line.is("--engine")) {
            scheduler.engine = line.engine();
        } else {
            line.unknown();
        }
    }
    line.require(to.family() != gyre::address_family::unspecified, "--connect");
    try {
        return gyre::run(scheduler, talk, to);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "echo_client: %s\n", error.what());
        return 1;
    }
}
