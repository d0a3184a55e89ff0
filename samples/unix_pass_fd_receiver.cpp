// unix_pass_fd_receiver.cpp: takes open files from other processes, reads them and says how large
// they are.
// Shows: recvmsg with descriptors, the peer's credentials, the file of a Unix listener.
// Run: ./unix_pass_fd_receiver --listen unix:/tmp/pass.sock, then unix_pass_fd_sender. SIGINT or
// SIGTERM ends it.   Needs: Linux 5.11.

#include "options.hpp"
#include "unix_pass_fd_session.hpp"

#include <gyre/gyre.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <utility>

namespace {

constexpr const char* usage = "usage: unix_pass_fd_receiver --listen ENDPOINT [--engine NAME]";

void print(const samples::passed_file& file) {
    std::printf(
        "%s: %llu bytes, from user %u\n",
        file.name.c_str(),
        static_cast<unsigned long long>(file.size),
        file.user_id
    );
    std::fflush(stdout);
}

gyre::task<> session(gyre::stream peer) {
    const auto ended = co_await samples::receive_files(std::move(peer), &print);
    if (!ended) {
        std::fprintf(stderr, "unix_pass_fd_receiver: %s\n", gyre::describe(ended.error()).c_str());
    }
}

gyre::task<int> serve_files(gyre::endpoint at) {
    // Only this user may connect. The file goes with the listener; one that a killed receiver has
    // left is replaced.
    const gyre::listen_options options = {
        .file = {.mode = 0600, .remove_on_close = true, .replace_stale = true}
    };
    auto listener = gyre::listener::bind(at, options);
    std::printf("listening on %s\n", listener.local_endpoint().value().to_string().c_str());
    std::fflush(stdout);
    const gyre::serve_options serving = {
        .stop_on_signals = true, .drain_for = std::chrono::seconds(1)
    };
    co_await gyre::serve(listener, session, serving);
    co_return 0;
}

} // namespace

int main(int count, char** arguments) {
    gyre::endpoint at;
    gyre::scheduler_options scheduler;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--listen")) {
            at = line.endpoint();
        } else if (line.is("--engine")) {
            scheduler.engine = line.engine();
        } else {
            line.unknown();
        }
    }
    line.require(at.family() == gyre::address_family::unix_domain, "--listen");
    try {
        // `serve` takes the signals while it serves. Blocked here, one that comes a moment before
        // or after does not kill the process.
        const gyre::signals blocked({SIGINT, SIGTERM});
        return gyre::run(scheduler, serve_files, at);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "unix_pass_fd_receiver: %s\n", error.what());
        return 1;
    }
}
