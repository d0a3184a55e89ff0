#pragma once

// What fuzz and stress tests share: rounds that each follow from one seed, and what is said about a
// round that fails.
//
//   GYRE_TEST_LONG=1      rounds with fresh seeds, which are printed, for half a minute
//   GYRE_FUZZ_SEED=N      the seed of the first round; the next ones count up
//   GYRE_FUZZ_ROUNDS=N    how many rounds, instead of a time

#include <gyre/ring/engine.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace test {

/// A small generator whose numbers are the same everywhere: splitmix64.
class dice {
public:
    explicit dice(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t next() noexcept {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
        return mixed ^ (mixed >> 31);
    }
    /// 0 to `count - 1`.
    std::uint64_t below(std::uint64_t count) noexcept { return next() % count; }
    /// `low` to `high`.
    std::int64_t between(std::int64_t low, std::int64_t high) noexcept {
        return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
    }
    bool one_in(std::uint64_t count) noexcept { return below(count) == 0; }
    /// Small ones are as likely as large ones: below 2 to the power of 0 to `bits`.
    std::int64_t any_size(unsigned bits) noexcept {
        return static_cast<std::int64_t>(below(std::uint64_t{1} << below(bits + 1)));
    }

private:
    std::uint64_t state_;
};

/// One round: its dice, and whether it has failed. `fail` and `failed` may be called from any
/// thread.
class trial : public dice {
public:
    explicit trial(std::uint64_t first) noexcept : dice(first), seed(first) {}

    void expect(bool holds, const char* what) {
        if (!holds) [[unlikely]] {
            fail(what);
        }
    }
    /// Says what is wrong, and how to see it again. The round after this one does not come.
    void fail(const std::string& what);
    bool failed() const noexcept { return failed_; }

    const std::uint64_t seed;

private:
    std::atomic<bool> failed_{false};
};

struct fuzz_options {
    /// How long rounds go on in a usual run.
    std::chrono::milliseconds usually{700};
    /// A round that takes longer ends the program: something that was to come has not. No round
    /// takes a second where it has the processor for itself.
    std::chrono::seconds round_limit{120};
};

/// Runs rounds until the first that fails. Returns how many there were.
std::uint64_t fuzz(const fuzz_options& options, const std::function<void(trial&)>& round);

/// The same on each engine.
void fuzz_every_engine(
    const fuzz_options& options, const std::function<void(trial&, gyre::engine_kind)>& round
);

/// Ends the program with a line about the round that is running. From any thread.
[[noreturn]] void stop_fuzzing(std::string_view what) noexcept;

} // namespace test
