#pragma once

#include "differential/outcome.hpp"
#include "differential/program.hpp"

#include <gyre/ring/engine.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace differential {

/// One operation of one run: what must be the same on every engine.
struct record {
    std::uint32_t step = 0;
    verb what = verb::recv;
    ending how = ending::other;
    int error = 0;
    std::int64_t bytes = 0;     ///< -1 where the kernel's buffers decide.
    std::uint64_t position = 0; ///< Of the first byte in its direction's stream.

    bool operator==(const record&) const = default;
};

struct trace {
    std::vector<record> records;
    /// What no engine may do: a wrong byte, an operation that did not wait, ...
    std::vector<std::string> problems;
    tally counts;
};

std::string text_of(const record& which);

/// Runs `which` on a scheduler of its own.
trace run(const program& which, gyre::engine_kind engine);

} // namespace differential
