// load.cpp: keeps an echo server busy, checks every byte that comes back, says how fast it was.
// Shows: many connections in one scope, time limits around single waits, failures as values.
// Run: ./load --connect 127.0.0.1:7000 --connections 64 --size 64 --pipeline 1 --duration 3.
// Needs: Linux 5.11.

#include "load_session.hpp"
#include "options.hpp"

#include <gyre/gyre.hpp>

#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <ratio>
#include <string>
#include <system_error>
#include <utility>

#include <sys/resource.h>

namespace {

constexpr const char* usage =
    "usage: load --connect ENDPOINT [--connections N] [--size BYTES] [--pipeline DEPTH] "
    "[--duration SECONDS] [--json]";

struct settings {
    gyre::endpoint to;
    std::size_t connections = 64;
    samples::load_settings each;
    std::chrono::nanoseconds duration = std::chrono::seconds(3);
    bool json = false;
};

settings read_settings(int count, char** arguments) {
    settings chosen;
    samples::options line(count, arguments, usage);
    while (line.next()) {
        if (line.is("--connect")) {
            chosen.to = line.endpoint();
        } else if (line.is("--connections")) {
            chosen.connections = line.number(1, 1'000'000);
        } else if (line.is("--size")) {
            chosen.each.size = line.number(1, 1'000'000'000);
        } else if (line.is("--pipeline")) {
            chosen.each.pipeline = line.number(1, 1'000'000);
        } else if (line.is("--duration")) {
            chosen.duration = line.seconds();
        } else if (line.is("--json")) {
            chosen.json = true;
        } else {
            line.unknown();
        }
    }
    line.require(chosen.to.family() != gyre::address_family::unspecified, "--connect");
    return chosen;
}

/// The soft limit of descriptors is often 1024; a process may raise its own up to the hard one.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void print(const settings& chosen, const samples::load_totals& totals, double seconds) {
    const auto requests = static_cast<double>(totals.requests);
    const double rate = seconds > 0 ? requests / seconds : 0;
    const double megabytes = rate * static_cast<double>(chosen.each.size) / 1e6;
    const auto microseconds = [](std::chrono::nanoseconds time) {
        return std::chrono::duration<double, std::micro>(time).count();
    };
    const double p50 = microseconds(totals.times.percentile(0.5));
    const double p99 = microseconds(totals.times.percentile(0.99));
    const double p999 = microseconds(totals.times.percentile(0.999));
    const double max = microseconds(totals.times.max());
    if (chosen.json) {
        std::printf(
            "{\"connections\": %zu, \"size\": %zu, \"pipeline\": %zu, \"seconds\": %.3f, "
            "\"requests\": %" PRIu64 ", \"requests_per_second\": %.0f, "
            "\"megabytes_per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
            "\"p99_9_us\": %.1f, \"max_us\": %.1f}\n",
            chosen.connections,
            chosen.each.size,
            chosen.each.pipeline,
            seconds,
            totals.requests,
            rate,
            megabytes,
            p50,
            p99,
            p999,
            max
        );
        return;
    }
    std::printf("requests/s  %12.0f\n", rate);
    std::printf("MB/s        %12.1f\n", megabytes);
    std::printf("p50         %12.1f us\n", p50);
    std::printf("p99         %12.1f us\n", p99);
    std::printf("p99.9       %12.1f us\n", p999);
    std::printf("max         %12.1f us\n", max);
}

/// Runs one connection. One that fails does not end the others: it is counted, and the first is
/// named.
gyre::task<>
drive(samples::load_session* session, gyre::clock::time_point deadline, std::size_t* failures) {
    const auto ended = co_await session->run(deadline);
    if (!ended && (*failures)++ == 0) {
        const std::string why = ended.error() == gyre::errno_code(EBADMSG)
                                    ? "the next byte is not the one that was sent"
                                    : gyre::describe(ended.error());
        std::fprintf(
            stderr,
            "load: a connection failed after %" PRIu64 " right bytes: %s\n",
            session->received(),
            why.c_str()
        );
    }
}

gyre::task<int> run_load(settings chosen) {
    const samples::load_pattern pattern;
    samples::load_totals totals;
    std::deque<samples::load_session> sessions; // Its elements stay where they are.

    // One after the other, and before the clock starts: it is requests that are measured.
    for (std::size_t index = 0; index < chosen.connections; ++index) {
        auto connected =
            co_await gyre::with_timeout(gyre::stream::connect(chosen.to), chosen.each.patience);
        if (!connected) {
            std::fprintf(
                stderr,
                "load: connect %s: %s\n",
                chosen.to.to_string().c_str(),
                gyre::describe(connected.error()).c_str()
            );
            co_return 1;
        }
        sessions.emplace_back(*std::move(connected), index * 1009, chosen.each, pattern, totals);
    }

    std::size_t failures = 0;
    const auto started = gyre::clock::now();
    auto all = [&](gyre::scope& running) -> gyre::task<> {
        for (samples::load_session& each : sessions) {
            running.spawn(drive, &each, started + chosen.duration, &failures);
        }
        co_return; // with_scope waits for all of them.
    };
    co_await gyre::with_scope(all);

    const std::chrono::duration<double> taken = totals.last_answer - started;
    print(chosen, totals, taken.count());
    if (failures != 0) {
        std::fprintf(stderr, "load: %zu of %zu connections failed\n", failures, sessions.size());
    }
    co_return failures == 0 ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) {
    const settings chosen = read_settings(count, arguments);
    raise_descriptor_limit();
    try {
        return gyre::run(run_load, chosen);
    } catch (const std::system_error& error) {
        std::fprintf(stderr, "load: %s\n", error.what());
        return 1;
    }
}
