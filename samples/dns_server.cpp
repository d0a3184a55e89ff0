// dns_server.cpp: answers DNS queries for addresses (A, AAAA) from a hosts file, over UDP.
// Shows: datagram, ancillary data, signals, when_any.
// Run: ./dns_server --listen 127.0.0.1:5353 --hosts /etc/hosts, then
// dig @127.0.0.1 -p 5353 localhost. SIGINT or SIGTERM ends it.
// Needs: Linux 5.11.

#include "dns_message.hpp"
#include "dns_session.hpp"
#include "options.hpp"

#include <gyre/gyre.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <tuple>

namespace {

constexpr const char* usage = "usage: dns_server --listen ENDPOINT --hosts FILE [--engine NAME]";

struct settings {
    gyre::endpoint listen;
    const char* hosts = nullptr;
    gyre::scheduler_options scheduler;
};

settings read_settings(int count, char** arguments) {
    settings chosen;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--listen")) {
            chosen.listen = line.endpoint();
        } else if (line.is("--hosts")) {
            chosen.hosts = line.text();
        } else if (line.is("--engine")) {
            chosen.scheduler.engine = line.engine();
        } else {
            line.unknown();
        }
    }
    line.require(!chosen.listen.address().empty(), "--listen");
    line.require(chosen.hosts != nullptr, "--hosts");
    return chosen;
}

samples::dns::host_table read_hosts(const char* path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    if (!file) {
        gyre::throw_error(gyre::errno_code(errno), path, "the hosts file cannot be read");
    }
    return samples::dns::host_table::parse(text.str());
}

gyre::task<int> serve(const settings& chosen) {
    const samples::dns::host_table hosts = read_hosts(chosen.hosts);
    gyre::signals stop({SIGINT, SIGTERM});
    auto socket = gyre::datagram::bind(chosen.listen);
    socket.receive_details({.packet = true}).value();
    const auto at = socket.local_endpoint();
    std::printf("listening on %s\n", at.value().to_string().c_str());
    std::fflush(stdout);

    // Whichever ends first: a signal, or the socket by an error.
    const auto ended = co_await gyre::when_any(samples::answer_queries(socket, hosts), stop.next());
    if (ended.index == 0) {
        const std::error_code error = std::get<0>(ended.outcomes).error();
        std::fprintf(stderr, "dns_server: %s\n", gyre::describe(error).c_str());
        co_return 1;
    }
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    const settings chosen = read_settings(count, arguments);
    try {
        return gyre::run(chosen.scheduler, serve, chosen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "dns_server: %s\n", error.what());
        return 1;
    }
}
