// The two processes of a turn: one asks, the other answers, or one sends and the other takes.
#pragma once

#include "ipc/wires.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace bench::ipc {

enum class way { by_hand, gyre_blocking, gyre_uring };
enum class pattern { round_trip, one_way };

struct turn {
    wire over = wire::unix_stream;
    way how = way::by_hand;
    pattern what = pattern::round_trip;
    std::size_t size = 0;
    std::chrono::nanoseconds warm_up{};
    std::chrono::nanoseconds duration{};
};

/// What one side has measured in the stretch.
struct measured {
    std::uint64_t messages = 0;
    std::uint64_t elapsed = 0; // nanoseconds; of the first side only, like what follows
    std::uint64_t cpu = 0;     // nanoseconds of all of the process's threads
    std::uint64_t p50 = 0;     // of round trips
    std::uint64_t p99 = 0;
};

/// Says how long, and measures.
measured first_side(const turn& chosen, end mine);
/// Goes along until it is told the end.
measured second_side(const turn& chosen, end mine);

} // namespace bench::ipc
