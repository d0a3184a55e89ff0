#pragma once

#include "differential/adaptor.hpp"
#include "differential/outcome.hpp"

#include <gyre/ring/engine.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace differential {

/// One await of a task that only sends, or only receives.
struct race_step {
    verb what = verb::recv;
    wrap how = wrap::none;
    bool canceled = false; ///< The scope around it is canceled after `soon`...
    bool stopped = false;  ///< ...or asked to stop.
    std::uint32_t size = 0;
    std::uint32_t pieces = 0;
    std::uint32_t soon = 0;  ///< In microseconds.
    std::uint32_t pause = 0; ///< The same: to sleep before it.
};

struct race_side {
    std::vector<race_step> sends;
    std::vector<race_step> receives; ///< Over and over, until the end; if empty, nobody receives.
    bool closes = false; ///< After its sends, whatever the peer is doing. Or it shuts down.
};

struct race_connection {
    bool tcp = false;
    bool small = false; ///< Its buffers.
    std::array<race_side, 2> sides;

    bool ends_in_order() const noexcept { return !sides[0].closes && !sides[1].closes; }
};

/// Connections between two schedulers on two threads; at each end a task that sends and one that
/// receives. Many outcomes are legal, and none may lose, repeat or invent a byte.
struct race {
    std::uint64_t seed = 0;
    std::vector<race_connection> connections;
};

race make_race(std::uint64_t seed);

struct race_report {
    std::vector<std::string> problems;
    tally counts;
};

race_report run(const race& which, gyre::engine_kind engine);

} // namespace differential
