// echo_client_session.hpp: what echo_client does on its connection.
#pragma once

#include <gyre/error.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/result.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/task.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace samples {

inline constexpr std::size_t copy_size = 65536;

/// Sends what `input` yields, then ends the sending side.
inline gyre::task<gyre::result<void>>
send_input(gyre::stream& peer, int input, std::uint64_t& sent, bool& ended) {
    std::vector<std::byte> buffer(copy_size);
    for (;;) {
        const std::size_t count = co_await gyre::or_return(gyre::op::read(input, buffer));
        if (count == 0) {
            ended = true;
            co_return peer.shutdown(gyre::shutdown_side::send);
        }
        const auto taken = co_await gyre::send_all(peer, std::span(buffer).first(count));
        sent += taken.bytes();
        if (!taken) {
            co_return taken.error();
        }
    }
}

/// Writes what the server sends to `output`, until the server's end.
inline gyre::task<gyre::result<void>>
receive_output(gyre::stream& peer, int output, std::uint64_t& received) {
    std::vector<std::byte> buffer(copy_size);
    for (;;) {
        const std::size_t count = co_await gyre::or_return(peer.recv(buffer));
        if (count == 0) {
            co_return gyre::result<void>();
        }
        received += count;
        std::span<const std::byte> left = std::span(buffer).first(count);
        while (!left.empty()) {
            const std::size_t written = co_await gyre::or_return(gyre::op::write(output, left));
            left = left.subspan(written);
        }
    }
}

/// Sends `input` to an echo server and writes what comes back to `output`, both at the same time:
/// a server that is not read from stops reading.
///
/// \return  `errc::end_of_stream` if the server ended before all had come back.
inline gyre::task<gyre::result<void>> echo_client(gyre::stream peer, int input, int output) {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    bool input_ended = false;
    // Whichever side fails first cancels the other, and its error is the outcome.
    auto both = [&](gyre::scope& sending) -> gyre::task<gyre::result<void>> {
        sending.spawn([&] { return send_input(peer, input, sent, input_ended); });
        co_await gyre::or_return(receive_output(peer, output, received));
        if (!input_ended || received != sent) {
            co_return gyre::errc::end_of_stream;
        }
        co_return gyre::result<void>();
    };
    const auto ended = co_await gyre::with_scope(both);
    co_return ended;
}

} // namespace samples
