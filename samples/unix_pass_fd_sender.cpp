// unix_pass_fd_sender.cpp: opens files and hands the descriptors to another process.
// Shows: sendmsg with descriptors, owned_descriptor, or_return.
// Run: ./unix_pass_fd_sender --connect unix:/tmp/pass.sock FILE..., while unix_pass_fd_receiver
// listens there.   Needs: Linux 5.11.

#include "options.hpp"
#include "unix_pass_fd_session.hpp"

#include <gyre/gyre.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#include <fcntl.h>

namespace {

constexpr const char* usage =
    "usage: unix_pass_fd_sender --connect ENDPOINT [--engine NAME] FILE...";

void complain(const std::string& about, std::error_code error) {
    std::fprintf(
        stderr, "unix_pass_fd_sender: %s: %s\n", about.c_str(), gyre::describe(error).c_str()
    );
}

gyre::task<int> hand_over(gyre::endpoint to, const std::vector<std::string>& names) {
    auto peer = co_await gyre::stream::connect(to);
    if (!peer) {
        complain("connect " + to.to_string(), peer.error());
        co_return 1;
    }
    for (const std::string& name : names) {
        const gyre::owned_descriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
        if (!file.is_open()) {
            complain(name, gyre::errno_code(errno));
            co_return 1;
        }
        const auto sent = co_await samples::send_file(*peer, name, file);
        if (!sent) {
            complain(name, sent.error());
            co_return 1;
        }
    }
    co_return 0;
}

// Ends when the files are handed over, or at a signal.
gyre::task<int> run_sender(gyre::endpoint to, const std::vector<std::string>& names) {
    gyre::signals ending({SIGINT, SIGTERM});
    const auto ended = co_await gyre::when_any(hand_over(to, names), ending.next());
    co_return ended.index == 0 ? std::get<0>(ended.outcomes) : 0;
}

} // namespace

int main(int count, char** arguments) {
    gyre::endpoint to;
    gyre::scheduler_options scheduler;
    std::vector<std::string> names;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--connect")) {
            to = line.endpoint();
        } else if (line.is("--engine")) {
            scheduler.engine = line.engine();
        } else if (line.is_operand()) {
            names.emplace_back(line.operand());
        } else {
            line.unknown();
        }
    }
    line.require(to.family() == gyre::address_family::unix_domain, "--connect");
    line.require(!names.empty(), "FILE");
    try {
        return gyre::run(scheduler, run_sender, to, names);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "unix_pass_fd_sender: %s\n", error.what());
        return 1;
    }
}
