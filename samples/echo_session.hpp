// echo_session.hpp: what echo_server does for one client.
#pragma once

#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/task/stop.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/with_timeout.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>

namespace samples {

/// Sends every byte back, until the peer closes or fails, the server wants to end, or nothing came
/// for `idle_limit`; nanoseconds::max() is no limit.
inline gyre::task<> echo(gyre::stream peer, std::chrono::nanoseconds idle_limit) {
    std::array<std::byte, 4096> buffer;
    for (;;) {
        const auto received =
            co_await gyre::with_timeout(gyre::idle(peer.recv(buffer)), idle_limit);
        if (!received) {
            break;
        }
        if (*received == 0) {
            co_return; // The peer has closed, and everything was sent back.
        }
        const auto sent = co_await gyre::send_all(peer, std::span(buffer).first(*received));
        if (!sent) {
            co_return; // Nobody is left to talk to.
        }
    }
    // It is this side that ends the conversation, or the connection has failed and this is over at
    // once. To close with a request unread would take from the peer replies that are on their way.
    const auto finished = co_await peer.finish(std::chrono::seconds(1));
    static_cast<void>(finished); // A peer that does not close loses nothing that was its own.
}

} // namespace samples
