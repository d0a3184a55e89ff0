#include "support/fuzz.hpp"

#include <gyre/ring/engine.hpp>

#include "support/test.hpp"

#include <errno.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <cerrno> // program_invocation_name
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <thread>

// Of the sanitizers' runtime: says whose report it was.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" [[gnu::weak]] void __sanitizer_set_death_callback(void (*callback)());

namespace test {

namespace {

// The round that runs, and how to run it again: what is known when the program dies.
std::atomic<std::uint64_t> running_seed{0};
std::atomic<bool> running{false};
char running_case[512];
char running_engine[16];

std::string how_to_replay() {
    const std::string engine(running_engine);
    return "replay: GYRE_FUZZ_SEED=" + std::to_string(running_seed) + " GYRE_FUZZ_ROUNDS=1 " +
           (engine.empty() ? "" : "GYRE_TEST_ENGINE=" + engine + " ") + program_invocation_name +
           " '--gyre-case=" + running_case + "'";
}

void say_how_to_replay() noexcept {
    if (running) {
        std::fprintf(stderr, "%s\n", how_to_replay().c_str());
    }
}

// Says so before doctest's handler of a crash, or the system's, does its work.
class crash_handler {
public:
    crash_handler() {
        struct sigaction ours = {};
        ours.sa_handler = &crash_handler::crashed;
        for (std::size_t index = 0; index < crashes.size(); ++index) {
            ::sigaction(crashes[index], &ours, &before[index]);
        }
    }
    ~crash_handler() {
        for (std::size_t index = 0; index < crashes.size(); ++index) {
            ::sigaction(crashes[index], &before[index], nullptr);
        }
    }
    crash_handler(const crash_handler&) = delete;
    crash_handler& operator=(const crash_handler&) = delete;

private:
    static constexpr std::array<int, 4> crashes = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
    static inline std::array<struct sigaction, crashes.size()> before;

    // The program is lost, so what a handler must not call does no more harm.
    static void crashed(int number) {
        say_how_to_replay();
        for (std::size_t index = 0; index < crashes.size(); ++index) {
            if (crashes[index] == number) {
                ::sigaction(number, &before[index], nullptr);
            }
        }
        ::raise(number); // Comes when this returns.
    }
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

bool long_run() {
    const char* text = std::getenv("GYRE_TEST_LONG");
    return text != nullptr && *text != '\0' && *text != '0';
}

// Ends the program when one round takes too long.
class watchdog {
public:
    explicit watchdog(std::chrono::seconds limit)
        : limit_(limit), until_(std::chrono::steady_clock::now() + limit),
          thread_([this] { watch(); }) {}
    ~watchdog() {
        {
            const std::scoped_lock lock(lock_);
            over_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

    void begin_round() {
        const std::scoped_lock lock(lock_);
        until_ = std::chrono::steady_clock::now() + limit_;
    }

private:
    void watch() {
        std::unique_lock lock(lock_);
        while (!over_) {
            changed_.wait_until(lock, until_);
            if (!over_ && std::chrono::steady_clock::now() >= until_) {
                stop_fuzzing("the round does not end");
            }
        }
    }

    std::chrono::seconds limit_;
    std::mutex lock_; // Protects until_ and over_.
    std::condition_variable changed_;
    std::chrono::steady_clock::time_point until_;
    bool over_ = false;
    std::thread thread_;
};

} // namespace

void trial::fail(const std::string& what) {
    failed_ = true;
    FAIL_CHECK("seed ", seed, ": ", what, "\n", how_to_replay()); // From any thread.
}

void stop_fuzzing(std::string_view what) noexcept {
    std::fprintf(stderr, "fuzz: %.*s\n", static_cast<int>(what.size()), what.data());
    say_how_to_replay();
    std::_Exit(1);
}

std::uint64_t fuzz(const fuzz_options& options, const std::function<void(trial&)>& round) {
    const doctest::TestCaseData& test = *doctest::getContextOptions()->currentTest;
    std::snprintf(running_case, sizeof running_case, "%s: %s", test.m_test_suite, test.m_name);
    if (__sanitizer_set_death_callback != nullptr) {
        __sanitizer_set_death_callback(&say_how_to_replay);
    }

    // A usual run is the same each time, but for how far it comes.
    std::uint64_t first = 1;
    auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(options.usually);
    if (long_run()) {
        time = std::chrono::seconds(30);
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        first = dice(static_cast<std::uint64_t>(now.count())).below(1'000'000'000);
    }
    first = number_from("GYRE_FUZZ_SEED", first);
    const std::uint64_t rounds = number_from("GYRE_FUZZ_ROUNDS", 0);

    const auto until = std::chrono::steady_clock::now() + time;
    std::uint64_t done = 0;
    watchdog dog(options.round_limit);
    const crash_handler handler;
    bool failed = false;
    // Once at least: a busy machine may take all of the time to begin.
    const auto goes_on = [&] {
        return rounds != 0 ? done < rounds : done == 0 || std::chrono::steady_clock::now() < until;
    };
    while (!failed && goes_on()) {
        trial next(first + done);
        running_seed = next.seed;
        running = true;
        dog.begin_round();
        round(next);
        running = false;
        failed = next.failed();
        ++done;
    }
    if (long_run()) {
        std::fprintf(
            stderr,
            "%llu rounds from seed %llu on: %s %s\n",
            static_cast<unsigned long long>(done),
            static_cast<unsigned long long>(first),
            running_case,
            running_engine
        );
    }
    return done;
}

void fuzz_every_engine(
    const fuzz_options& options, const std::function<void(trial&, gyre::engine_kind)>& round
) {
    for (const gyre::engine_kind engine : engines()) {
        std::snprintf(running_engine, sizeof running_engine, "%s", gyre::engine_name(engine));
        fuzz(options, [&](trial& now) { round(now, engine); });
        running_engine[0] = '\0';
    }
}

} // namespace test
