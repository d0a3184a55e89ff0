// udp_echo_session.hpp: what udp_echo does with its socket.
#pragma once

#include <gyre/net/datagram.hpp>
#include <gyre/task/task.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <system_error>

#include <sys/socket.h>

namespace samples {

/// Sends every message back to whom it came from, until it is canceled or the socket fails.
inline gyre::task<gyre::result<void>> echo_messages(gyre::datagram& socket) {
    std::array<std::byte, 65536> buffer; // No datagram of IP is larger.
    for (;;) {
        gyre::endpoint sender;
        const auto received = co_await socket.recvfrom(buffer, sender);
        if (!received) {
            co_return received.error();
        }
        if (received->truncated() || sender.size() == 0) {
            continue; // A Unix message that is larger still, or one that nobody can be answered.
        }
        const auto message = std::span(buffer).first(received->stored());
        // Who does not receive, is gone or gave a forged address must not hold up the others: what
        // cannot be sent at once is lost, as datagrams may be.
        const auto sent = co_await socket.sendto(message, sender, MSG_DONTWAIT);
        if (!sent && sent.error() == std::errc::operation_canceled) {
            co_return sent.error();
        }
    }
}

} // namespace samples
