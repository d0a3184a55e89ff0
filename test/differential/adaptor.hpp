#pragma once

#include "differential/outcome.hpp"

#include <gyre/gyre.hpp>

#include <chrono>
#include <cstdint>
#include <span>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

namespace differential {

/// What stands between a task and the operation that it awaits.
enum class wrap : std::uint8_t {
    none,
    far_limit, ///< A time limit that is never reached.
    zero_limit,
    near_limit,
    idle,
    shielded,
    first_of_two, ///< `when_any` with a sleep that is never over.
    last_of_two,  ///< `when_any` with a sleep that is soon over.
};

const char* name_of(wrap which) noexcept;

constexpr std::chrono::hours far_away(1);

/// Awaits `what` in this way. `soon`: the time that `near_limit` and `last_of_two` take.
template <class Description>
gyre::task<seen>
awaited(wrap how, Description what, std::size_t asked, std::chrono::nanoseconds soon) {
    seen told;
    switch (how) {
    case wrap::none: {
        auto got = co_await std::move(what);
        told = look_at(std::move(got), asked);
        break;
    }
    case wrap::far_limit: {
        auto got = co_await gyre::with_timeout(std::move(what), far_away);
        told = look_at(std::move(got), asked);
        break;
    }
    case wrap::zero_limit: {
        auto got = co_await gyre::with_timeout(std::move(what), std::chrono::nanoseconds(0));
        told = look_at(std::move(got), asked);
        break;
    }
    case wrap::near_limit: {
        auto got = co_await gyre::with_timeout(std::move(what), soon);
        told = look_at(std::move(got), asked);
        break;
    }
    case wrap::idle: {
        auto got = co_await gyre::idle(std::move(what));
        told = look_at(std::move(got), asked);
        break;
    }
    case wrap::shielded: {
        auto got = co_await gyre::shielded(std::move(what));
        told = look_at(std::move(got), asked);
        break;
    }
    case wrap::first_of_two: {
        auto got = co_await gyre::when_any(std::move(what), gyre::sleep_for(far_away));
        told = look_at(std::get<0>(std::move(got.outcomes)), asked);
        break;
    }
    case wrap::last_of_two: {
        auto got = co_await gyre::when_any(gyre::sleep_for(soon), std::move(what));
        told = look_at(std::get<1>(std::move(got.outcomes)), asked);
        break;
    }
    }
    co_return told;
}

/// The streams' operations by their rows in the table. `pieces`: how scatter and gather divide.
gyre::task<seen> receive(
    gyre::stream& from,
    verb what,
    std::span<std::byte> buffer,
    std::uint32_t pieces,
    wrap how,
    std::chrono::nanoseconds soon
);
gyre::task<seen> send(
    gyre::stream& to,
    verb what,
    std::span<const std::byte> bytes,
    std::uint32_t pieces,
    wrap how,
    std::chrono::nanoseconds soon
);

/// Runs `main`, which yields a task<>, on a scheduler of its own; a third of all seeds have queues so
/// short that they are full all the time. The kernel gives the locked memory of closed rings back
/// late, so a lack of it is waited out.
template <class Main>
void run_on(gyre::engine_kind engine, std::uint64_t seed, Main& main) {
    gyre::scheduler_options options;
    options.engine = engine;
    options.submission_entries = seed % 3 == 0 ? 2 : 64;
    options.completion_entries = seed % 3 == 0 ? 4 : 256;
    for (int tries = 0;; ++tries) {
        try {
            return gyre::run(options, main);
        } catch (const std::system_error& thrown) {
            if (thrown.code() != std::errc::not_enough_memory || tries == 500) {
                throw;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
}

/// The bytes of direction `key` from `position` on; each tells where it belongs.
void fill(std::span<std::byte> bytes, std::uint64_t key, std::uint64_t position) noexcept;
/// Where `bytes` first differ from that; -1 if nowhere.
std::int64_t
first_wrong(std::span<const std::byte> bytes, std::uint64_t key, std::uint64_t position) noexcept;

} // namespace differential
