// Random programs of operations run on all engines, and what they came to is compared.
//
// A program follows from a seed alone. GYRE_DIFFERENTIAL_SEED names the first one,
// GYRE_DIFFERENTIAL_PROGRAMS says how many follow, GYRE_DIFFERENTIAL_REPEATS how often each runs.
// With GYRE_TEST_LONG there are many, from a seed that is different each time and is printed.

#include <gyre/ring/engine.hpp>

#include "differential/machine.hpp"
#include "differential/outcome.hpp"
#include "differential/program.hpp"
#include "differential/race.hpp"
#include "differential/watchdog.hpp"

#include "support/test.hpp"

#include <errno.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace differential;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool is_sanitized = true;
#else
constexpr bool is_sanitized = false;
#endif
#else
constexpr bool is_sanitized = false;
#endif

constexpr int seconds_per_program = is_sanitized ? 120 : 30;
constexpr std::uint64_t enough = 100; // Every cell of the table is over this.
constexpr std::uint64_t extension_factor = 4;
constexpr std::uint64_t long_factor = 20;
constexpr std::uint64_t sanitized_divisor = 8;

std::uint64_t number_in(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

// What is to be run.
class plan {
public:
    plan(const char* the_case, std::uint64_t programs) : case_(the_case) {
        const bool is_long = number_in("GYRE_TEST_LONG", 0) != 0;
        std::uint64_t otherwise = 1;
        if (is_long) {
            std::random_device device;
            otherwise = device();
            programs *= long_factor;
        }
        if (is_sanitized) {
            programs = std::max<std::uint64_t>(programs / sanitized_divisor, 1);
        }
        first = number_in("GYRE_DIFFERENTIAL_SEED", otherwise);
        count = number_in("GYRE_DIFFERENTIAL_PROGRAMS", programs);
        repeats = number_in("GYRE_DIFFERENTIAL_REPEATS", 1);
        is_counted = !is_sanitized && count >= programs;
        std::printf(
            "%s: %llu programs from seed %llu on\n",
            the_case,
            static_cast<unsigned long long>(count),
            static_cast<unsigned long long>(first)
        );
        if (!is_counted) {
            std::printf("fewer than by default: whether each count is over 100 is not looked at\n");
        }
    }

    // The command that runs the program of this seed again.
    std::string replay(std::uint64_t seed, int repeats_wanted) const {
        std::string command =
            "GYRE_DIFFERENTIAL_SEED=" + std::to_string(seed) + " GYRE_DIFFERENTIAL_PROGRAMS=1 ";
        if (repeats_wanted > 1) {
            command += "GYRE_DIFFERENTIAL_REPEATS=" + std::to_string(repeats_wanted) + " ";
        }
        return command + program_invocation_name + " -tc='" + case_ + "'";
    }

    std::uint64_t first;
    std::uint64_t count;
    std::uint64_t repeats;
    bool is_counted;

private:
    const char* case_;
};

std::string name_of_engine(gyre::engine_kind engine) {
    return std::string(gyre::engine_name(engine));
}

// What is left of the process's own state when a case ends.
class without_sigpipe {
public:
    without_sigpipe() : before_(std::signal(SIGPIPE, SIG_IGN)) {}
    ~without_sigpipe() { std::signal(SIGPIPE, before_); }
    without_sigpipe(const without_sigpipe&) = delete;
    without_sigpipe& operator=(const without_sigpipe&) = delete;

private:
    void (*before_)(int);
};

// The rows of the table and the outcomes that the programs bring about.
struct aim {
    verb what;
    std::vector<ending> endings;
};

using enum ending;

const std::vector<aim>& aims_of_programs() {
    static const std::vector<aim> all = {
        {verb::recv, {full, part, end, canceled, timed_out, stopped, reset}},
        {verb::recv_peek, {full, part, end, canceled, timed_out, stopped, reset}},
        {verb::recv_waitall, {full, part, end, canceled, timed_out, stopped, reset}},
        {verb::recv_dontwait, {full, part, end, again, canceled, reset}},
        {verb::recv_scatter, {full, part, end, canceled, timed_out, stopped, reset}},
        {verb::recv_scatter_all, {full, part, end, canceled, timed_out, stopped, reset}},
        {verb::recv_exactly, {full, canceled, timed_out, stopped, end_of_stream, reset}},
        {verb::send, {full, part, canceled, timed_out, stopped, reset, ending::pipe}},
        {verb::send_gather, {full, part, canceled, timed_out, stopped, reset, ending::pipe}},
        {verb::send_dontwait, {full, part, again, canceled, reset, ending::pipe}},
        {verb::send_gather_all, {full, part, canceled, reset, ending::pipe}},
        {verb::send_all, {full, canceled, timed_out, stopped, reset, ending::pipe}},
        {verb::accept, {full, canceled, timed_out, stopped}},
        {verb::connect, {full, canceled, timed_out, refused}},
        {verb::shutdown, {full}},
        {verb::close, {full}},
        {verb::finish, {full, timed_out}},
        {verb::read, {full, part, end, canceled, timed_out, stopped}},
        {verb::write, {full, canceled, timed_out, ending::pipe}},
        {verb::poll, {full, canceled, timed_out}},
        {verb::sleep, {full, canceled, timed_out}},
    };
    return all;
}

const std::vector<aim>& aims_of_races() {
    static const std::vector<aim> all = {
        {verb::recv, {full, part, end, canceled, timed_out, stopped}},
        {verb::recv_peek, {full, part, canceled, timed_out, stopped}},
        {verb::recv_waitall, {full, part, canceled, timed_out, stopped}},
        {verb::recv_dontwait, {full, part, again}},
        {verb::recv_scatter, {full, part, canceled, timed_out, stopped}},
        {verb::recv_scatter_all, {full, part, canceled, timed_out, stopped}},
        {verb::recv_exactly, {full, canceled, timed_out, stopped, end_of_stream}},
        {verb::send, {full, part, canceled, timed_out, stopped}},
        {verb::send_gather, {full, part, canceled, timed_out, stopped}},
        {verb::send_dontwait, {full, part, again}},
        {verb::send_gather_all, {full, part}},
        {verb::send_all, {full, canceled, timed_out, stopped}},
        {verb::shutdown, {full}},
        {verb::close, {full}},
    };
    return all;
}

// The tables, one for each engine.
class tables {
public:
    tables() : counts_(test::engines().size()) {}

    void add(std::size_t engine, const tally& more) { counts_[engine].add(more); }
    void print() const {
        for (std::size_t index = 0; index < counts_.size(); ++index) {
            std::printf(
                "\n%s\n%s",
                name_of_engine(test::engines()[index]).c_str(),
                counts_[index].text().c_str()
            );
        }
        std::fflush(stdout);
    }
    bool reach(const std::vector<aim>& aims) const {
        bool all = true;
        each(aims, [&](std::size_t engine, verb what, ending how) {
            all = all && counts_[engine].of(what, how) > enough;
        });
        return all;
    }
    void check(const std::vector<aim>& aims) const {
        each(aims, [&](std::size_t engine, verb what, ending how) {
            INFO(
                name_of_engine(test::engines()[engine]),
                ": ",
                std::string(name_of(what)),
                ", ",
                std::string(name_of(how))
            );
            CHECK(counts_[engine].of(what, how) > enough);
        });
    }

private:
    template <class Function>
    void each(const std::vector<aim>& aims, Function&& function) const {
        for (std::size_t engine = 0; engine < counts_.size(); ++engine) {
            for (const aim& one : aims) {
                for (const ending how : one.endings) {
                    function(engine, one.what, how);
                }
            }
        }
    }

    std::vector<tally> counts_;
};

// The records around the first that differs; empty if none does.
std::string difference(const program& which, const trace& one, const trace& other) {
    const std::size_t size = std::max(one.records.size(), other.records.size());
    std::size_t first = 0;
    while (first < size && first < one.records.size() && first < other.records.size() &&
           one.records[first] == other.records[first]) {
        ++first;
    }
    if (first == size) {
        return {};
    }
    constexpr std::size_t around = 4;
    const auto line = [&](const trace& of, std::size_t index) {
        return index < of.records.size() ? text_of(of.records[index]) : std::string("nothing");
    };
    const std::size_t step =
        first < one.records.size() ? one.records[first].step : other.records[first].step;
    std::string text = "differs at step " + std::to_string(step) + ":\n";
    for (std::size_t index = step < around ? 0 : step - around; index <= step; ++index) {
        text += "    step " + std::to_string(index) + ": " + text_of(which.steps[index]) + "\n";
    }
    for (std::size_t index = first < around ? 0 : first - around;
         index < std::min(size, first + around);
         ++index) {
        text += "  " + line(one, index) + "\n";
        if (line(one, index) != line(other, index)) {
            text += "! " + line(other, index) + "\n";
        }
    }
    return text;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& each : lines) {
        text += "  " + each + "\n";
    }
    return text;
}

// Runs `once(seed, engine index)`, which says what is wrong, for each program of the plan. When they
// are through and some outcome has been rare, which depends on the machine where programs race,
// more follow, up to a limit.
template <class Once, class Compare>
void run_all(
    const plan& wanted,
    const tables& counted,
    const std::vector<aim>& aims,
    int repeats_of_replay,
    Once&& once,
    Compare&& compare
) {
    const without_sigpipe guard;
    watchdog dog;
    const auto goes_on = [&](std::uint64_t done) {
        return done < wanted.count ||
               (wanted.is_counted && done < wanted.count * extension_factor && !counted.reach(aims)
               );
    };
    for (std::uint64_t done = 0; goes_on(done); ++done) {
        const std::uint64_t seed = wanted.first + done;
        for (std::uint64_t round = 0; round < wanted.repeats; ++round) {
            for (std::size_t index = 0; index < test::engines().size(); ++index) {
                const std::string engine = name_of_engine(test::engines()[index]);
                const std::string replay = wanted.replay(seed, repeats_of_replay);
                dog.start(
                    "seed " + std::to_string(seed) + ", " + engine +
                        ": an operation never completes\n  replay: " + replay + "\n",
                    seconds_per_program
                );
                const std::size_t before = test::open_descriptors();
                std::string wrong = once(seed, index);
                dog.stop();
                const std::size_t after = test::open_descriptors();
                if (after != before) {
                    wrong += "  " + std::to_string(before) + " descriptors before, " +
                             std::to_string(after) + " after\n";
                }
                if (wrong.empty()) {
                    wrong = compare(index);
                }
                REQUIRE_MESSAGE(
                    wrong.empty(), "seed ", seed, ", ", engine, ":\n", wrong, "replay: ", replay
                );
            }
        }
    }
}

// Asked for long runs, there is none.
double seconds_max() {
    return std::getenv("GYRE_TEST_LONG") != nullptr ? 0 : 300;
}

} // namespace

TEST_SUITE_BEGIN("differential/fuzz");

TEST_CASE(
    "programs whose every outcome is fixed come to the same on all engines" *
    doctest::timeout(seconds_max())
) {
    const plan wanted("programs*", 900);
    tables counted;
    program which;
    std::vector<trace> traces(test::engines().size());
    run_all(
        wanted,
        counted,
        aims_of_programs(),
        1,
        [&](std::uint64_t seed, std::size_t engine) {
            which = make_program(seed);
            traces[engine] = run(which, test::engines()[engine]);
            counted.add(engine, traces[engine].counts);
            return joined(traces[engine].problems);
        },
        [&](std::size_t engine) {
            std::string text = difference(which, traces[0], traces[engine]);
            if (!text.empty()) {
                text =
                    "! marks it; unmarked is " + name_of_engine(test::engines()[0]) + "\n" + text;
            }
            return text;
        }
    );
    counted.print();
    if (wanted.is_counted) {
        counted.check(aims_of_programs());
    }
}

TEST_CASE(
    "races lose no byte, and each outcome is legal, on all engines" *
    doctest::timeout(seconds_max())
) {
    const plan wanted("races*", 400);
    tables counted;
    run_all(
        wanted,
        counted,
        aims_of_races(),
        200,
        [&](std::uint64_t seed, std::size_t engine) {
            const race_report made = run(make_race(seed), test::engines()[engine]);
            counted.add(engine, made.counts);
            return joined(made.problems);
        },
        [](std::size_t) { return std::string(); }
    );
    counted.print();
    if (wanted.is_counted) {
        counted.check(aims_of_races());
    }
}

TEST_SUITE_END();
