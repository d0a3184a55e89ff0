// file_server.cpp: serves the files of a folder over HTTP/1.1.
// Shows: buffered_reader, send_file, raw operations, time limits, a drain that finishes answers.
// Run: ./file_server --listen 127.0.0.1:8000 --root ., then curl http://127.0.0.1:8000/README.md.
//      SIGINT or SIGTERM ends it.
// Needs: Linux 5.11.

#include "file_session.hpp"
#include "options.hpp"

#include <gyre/gyre.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>

namespace {

constexpr const char* usage = "usage: file_server --listen ENDPOINT --root DIR [--engine NAME] "
                              "[--idle-timeout SECONDS] [--max-connections N]";

struct settings {
    gyre::endpoint listen;
    const char* root = nullptr;
    gyre::scheduler_options scheduler;
    gyre::serve_options serve = {.stop_on_signals = true, .drain_for = std::chrono::seconds(5)};
    samples::file_settings files;
};

settings read_settings(int count, char** arguments) {
    settings chosen;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--listen")) {
            chosen.listen = line.endpoint();
        } else if (line.is("--root")) {
            chosen.root = line.text();
        } else if (line.is("--engine")) {
            chosen.scheduler.engine = line.engine();
        } else if (line.is("--idle-timeout")) {
            chosen.files.patience = line.seconds();
        } else if (line.is("--max-connections")) {
            chosen.serve.connections_max = line.number(1, 1'000'000'000);
        } else {
            line.unknown();
        }
    }
    line.require(chosen.listen.family() != gyre::address_family::unspecified, "--listen");
    line.require(chosen.root != nullptr, "--root");
    return chosen;
}

gyre::task<int> serve_folder(settings chosen) {
    const samples::open_file root(::open(chosen.root, O_DIRECTORY | O_RDONLY | O_CLOEXEC));
    if (root.get() < 0) {
        gyre::throw_error(gyre::errno_code(errno), std::string("open ") + chosen.root);
    }
    chosen.files.root = root.get();
    auto listener = gyre::listener::bind(chosen.listen);
    const auto at = listener.local_endpoint();
    std::printf("listening on %s\n", at.value().to_string().c_str());
    std::fflush(stdout);

    const auto session = [files = chosen.files](gyre::stream peer) {
        return samples::serve_files(std::move(peer), files);
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
        return gyre::run(chosen.scheduler, serve_folder, chosen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "file_server: %s\n", error.what());
        return 1;
    }
}
