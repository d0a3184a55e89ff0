// socks5_session.hpp: what socks5_proxy does for one client. RFC 1928: CONNECT, no authentication.
#pragma once

#include <gyre/error.hpp>
#include <gyre/io/buffered_reader.hpp>
#include <gyre/io/connect_to.hpp>
#include <gyre/io/copy.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/resolve.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/result.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/when_all.hpp>
#include <gyre/task/with_timeout.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace samples {

/// The answer to a request.
enum class socks_reply : std::uint8_t {
    succeeded = 0,
    failed = 1,
    network_unreachable = 3,
    host_unreachable = 4,
    refused = 5,
    no_such_command = 7,
    no_such_address = 8,
};

struct socks_request {
    socks_reply refusal = socks_reply::succeeded; ///< Why it is refused before anything is tried.
    std::string host;                             ///< A name; empty if an address was asked for.
    std::uint16_t port = 0;
};

using socks_reader = gyre::buffered_reader<gyre::stream>;

inline gyre::task<gyre::result<void>> send_bytes(gyre::stream& to, std::string bytes) {
    co_await gyre::or_return(gyre::send_all(to, std::as_bytes(std::span(bytes))));
    co_return gyre::result<void>();
}

/// The next `size` bytes, as they are.
inline gyre::task<gyre::result<std::string>> take(socks_reader& from, std::size_t size) {
    std::string bytes(size, '\0');
    co_await gyre::or_return(from.read_exactly(std::as_writable_bytes(std::span(bytes))));
    co_return bytes;
}

inline std::uint16_t port_of(std::string_view two_bytes) noexcept {
    return static_cast<std::uint16_t>(
        static_cast<unsigned char>(two_bytes[0]) << 8 | static_cast<unsigned char>(two_bytes[1])
    );
}

/// An address that came as bytes.
template <std::size_t Size>
std::array<std::uint8_t, Size> address_of(std::string_view bytes) noexcept {
    std::array<std::uint8_t, Size> address{};
    std::transform(bytes.begin(), bytes.end(), address.begin(), [](char each) {
        return static_cast<std::uint8_t>(each);
    });
    return address;
}

/// Agrees on a method, then reads the request.
///
/// \return  the request, refused or not; `EPROTO` for a client that speaks something else, or none
///          of whose methods will do.
inline gyre::task<gyre::result<socks_request>>
read_socks_request(socks_reader& from, gyre::stream& client, std::vector<gyre::endpoint>& known) {
    const std::string hello = co_await gyre::or_return(take(from, 2));
    if (hello[0] != 5) {
        co_return gyre::errno_code(EPROTO);
    }
    const std::string methods =
        co_await gyre::or_return(take(from, static_cast<unsigned char>(hello[1])));
    const bool without_secret = methods.find('\0') != methods.npos;
    const std::string method = {5, without_secret ? '\x00' : '\xff'};
    co_await gyre::or_return(send_bytes(client, method));
    if (!without_secret) {
        co_return gyre::errno_code(EPROTO);
    }

    socks_request asked;
    const std::string head = co_await gyre::or_return(take(from, 4));
    if (head[0] != 5) {
        co_return gyre::errno_code(EPROTO);
    }
    std::size_t size = 0; // Of the address.
    switch (head[3]) {
    case 1:
        size = 4;
        break;
    case 3: {
        const std::string length = co_await gyre::or_return(take(from, 1));
        size = static_cast<unsigned char>(length[0]);
        break;
    }
    case 4:
        size = 16;
        break;
    default:
        asked.refusal = socks_reply::no_such_address;
        co_return asked;
    }
    const std::string where = co_await gyre::or_return(take(from, size + 2));
    const std::string address = where.substr(0, size);
    asked.port = port_of(std::string_view(where).substr(size));
    if (head[1] != 1) {
        asked.refusal = socks_reply::no_such_command;
    } else if (head[3] == 1) {
        known.push_back(gyre::endpoint::ipv4(address_of<4>(address), asked.port));
    } else if (head[3] == 4) {
        known.push_back(gyre::endpoint::ipv6(address_of<16>(address), asked.port));
    } else if (address.empty() || address.find('\0') != address.npos) {
        asked.refusal = socks_reply::failed;
    } else {
        asked.host = address;
    }
    co_return asked;
}

inline socks_reply reply_for(std::error_code error) noexcept {
    if (error == std::errc::connection_refused) {
        return socks_reply::refused;
    }
    if (error == std::errc::network_unreachable) {
        return socks_reply::network_unreachable;
    }
    // A name that nobody knows is a host that cannot be reached.
    const bool unreachable = error == std::errc::host_unreachable ||
                             error == std::errc::timed_out || error == gyre::errc::timed_out ||
                             error.category() == gyre::resolve_category();
    return unreachable ? socks_reply::host_unreachable : socks_reply::failed;
}

/// An answer, with the endpoint that the proxy connects from.
inline std::string reply_bytes(socks_reply reply, const gyre::endpoint& from) {
    std::string bytes = {5, static_cast<char>(reply), 0};
    const bool v6 = from.family() == gyre::address_family::ipv6;
    bytes += v6 ? '\x04' : '\x01';
    std::string address(v6 ? 16 : 4, '\0');
    if (from.address().size() == address.size()) {
        std::transform(
            from.address().begin(),
            from.address().end(),
            address.begin(),
            [](std::uint8_t each) { return static_cast<char>(each); }
        );
    }
    bytes += address;
    bytes += static_cast<char>(from.port() >> 8);
    bytes += static_cast<char>(from.port() & 0xff);
    return bytes;
}

/// Copies one direction, and passes its end on: the other one may go on.
template <class From>
gyre::task<gyre::result<void>> relay(From& from, gyre::stream& to) {
    co_await gyre::or_return(gyre::copy(from, to));
    co_return to.shutdown(gyre::shutdown_side::send);
}

/// Serves one client: a connection to where it asks for, or the reason why there is none.
inline gyre::task<> socks5(gyre::stream client, std::chrono::nanoseconds patience) {
    socks_reader from(client);
    std::vector<gyre::endpoint> known; // What is asked for, if that is an address.
    const auto asked =
        co_await gyre::with_timeout(read_socks_request(from, client, known), patience);
    if (!asked) {
        const auto finished = co_await client.finish(std::chrono::seconds(1));
        static_cast<void>(finished);
        co_return;
    }
    socks_reply reply = asked->refusal;
    gyre::result<gyre::stream> target = gyre::errno_code(ENOTCONN);
    if (reply == socks_reply::succeeded) {
        auto connecting =
            known.empty() ? gyre::connect_to(asked->host, asked->port) : gyre::connect_to(known);
        target = co_await gyre::with_timeout(std::move(connecting), patience);
        if (!target) {
            reply = reply_for(target.error());
        }
    }
    gyre::endpoint here = gyre::endpoint::any_v4(0);
    if (target) {
        here = target->local_endpoint().value_or(here);
    }
    const auto told =
        co_await gyre::with_timeout(send_bytes(client, reply_bytes(reply, here)), patience);
    if (!told || !target) {
        const auto finished = co_await client.finish(std::chrono::seconds(1));
        static_cast<void>(finished);
        co_return;
    }
    // What the client sent behind its request is in the reader, and goes first.
    const auto relayed = co_await gyre::when_all(relay(from, *target), relay(*target, client));
    if (!std::get<0>(relayed) || !std::get<1>(relayed)) {
        // One side failed: a clean end would tell the other that it has everything.
        const gyre::linger reset(true, std::chrono::seconds(0));
        static_cast<void>(client.set_option(reset));
        static_cast<void>(target->set_option(reset));
    }
}

} // namespace samples
