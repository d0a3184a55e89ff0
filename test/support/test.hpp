#pragma once

// What the tests share: every behavioural test runs its body once for each engine.

// IWYU pragma: begin_exports
#include <gyre/gyre.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <ostream> // doctest prints error codes through it.
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
// IWYU pragma: end_exports

namespace test {

/// Says that the running case, or a part of it, is skipped here, and why.
void skip(std::string_view reason);

/// The engines that behavioural tests run on: all, or the one that GYRE_TEST_ENGINE names.
const std::vector<gyre::engine_kind>& engines();

/// Runs `body`, which yields a `task<>`, as the main task of a scheduler on each engine.
template <class Body>
void on_every_engine(gyre::scheduler_options options, Body&& body) {
    for (const gyre::engine_kind engine : engines()) {
        INFO("engine: ", std::string(gyre::engine_name(engine)));
        options.engine = engine;
        gyre::run(options, body);
    }
}
template <class Body>
void on_every_engine(Body&& body) {
    on_every_engine(gyre::scheduler_options(), std::forward<Body>(body));
}

/// Both ends of one TCP connection over loopback.
struct tcp_pair {
    tcp_pair(gyre::stream&& one, gyre::stream&& other) noexcept
        : client(std::move(one)), server(std::move(other)) {}
    gyre::stream client;
    gyre::stream server;
};
gyre::task<tcp_pair> loopback_pair();

inline std::span<const std::byte> bytes_of(std::string_view text) noexcept {
    return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view text_of(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// How many descriptors this process has open.
std::size_t open_descriptors();

} // namespace test
