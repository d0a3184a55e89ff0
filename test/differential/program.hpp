#pragma once

#include "differential/adaptor.hpp"
#include "differential/outcome.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace differential {

/// What a step of a program does. Each has exactly one legal outcome, whatever the timing.
enum class action : std::uint8_t {
    open_unix,
    open_tcp,
    send,     ///< There is room, or the connection is over.
    receive,  ///< Nothing to wait for: data, an end, an error, or MSG_DONTWAIT.
    wait,     ///< A receive that finds too little, and then `by` happens.
    transfer, ///< More than the buffers hold, in one direction or in both.
    squeeze,  ///< Sends that find no room, and then `by` happens.
    refused,  ///< An operation in a canceled scope.
    race_two, ///< `when_any` of two receives, of which one has data.
    shutdown,
    close,
    finish,
    accept,  ///< An accept that waits, and then `by` happens.
    connect, ///< To nobody, or to a listener whose backlog is full.
    read,    ///< From a pipe.
    write,   ///< To a pipe.
    poll,    ///< Of a pipe.
    sleep,
    reset, ///< An operation on a TCP connection that its peer has reset.
};

/// What ends an operation that waits.
enum class ender : std::uint8_t {
    nothing,    ///< It does not wait.
    data,       ///< What it waits for comes.
    peer_end,   ///< The peer shuts its sending side down.
    peer_close, ///< With bytes that it has not read, this resets the connection.
    own_shutdown,
    own_close,
    cancel,
    limit,
    stop,
    loses, ///< The other branch of a `when_any` is first.
};
constexpr std::size_t ender_count = 10;

struct step {
    action what = action::open_unix;
    std::uint8_t connection = 0;
    std::uint8_t side = 0;
    std::uint8_t other = 0; ///< Of `race_two`: the connection with the data. Else a variant.
    verb with = verb::recv;
    wrap how = wrap::none;
    ender by = ender::nothing;
    std::uint32_t size = 0;
    std::uint32_t second_size = 0;
    std::uint32_t pieces = 0;
};

constexpr std::size_t connection_count = 3;

/// A program is data that follows from its seed alone. It runs as one task whose steps may start
/// others; what every step finds was done, and has arrived, before it begins.
struct program {
    std::uint64_t seed = 0;
    std::vector<step> steps;
};

program make_program(std::uint64_t seed);
std::string text_of(const step& which);

} // namespace differential
