// dns_session.hpp: what dns_server does with its socket.
#pragma once

#include "dns_message.hpp"

#include <gyre/net/datagram.hpp>
#include <gyre/task/task.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <system_error>

#include <sys/socket.h>

namespace samples {

/// Answers queries until it is canceled or the socket fails. The socket brings packet details
/// (`receive_details`), so that the answer comes from the address that was asked.
inline gyre::task<gyre::result<void>>
answer_queries(gyre::datagram& socket, const dns::host_table& hosts) {
    std::array<std::byte, 4096> query;
    std::array<std::byte, 1232> reply; // Fits any path uncut.
    gyre::control_buffer<> details;
    for (;;) {
        gyre::endpoint client;
        const auto received = co_await socket.recvmsg(query, client, details);
        if (!received) {
            co_return received.error();
        }
        if (received->truncated() || client.size() == 0) {
            continue;
        }
        const auto message = std::span(query).first(received->stored());
        const std::size_t size = dns::answer(hosts, message, reply);
        if (size == 0) {
            continue;
        }
        gyre::control_message<> source;
        if (const auto packet = details.packet()) {
            // Nothing is added for a group, which is no address to answer from.
            static_cast<void>(source.add_source(packet->local));
        }
        // What cannot be sent at once is lost, and asked for again.
        const auto sent =
            co_await socket.sendmsg(std::span(reply).first(size), client, source, MSG_DONTWAIT);
        if (!sent && sent.error() == std::errc::operation_canceled) {
            co_return sent.error();
        }
    }
}

} // namespace samples
