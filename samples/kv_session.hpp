// kv_session.hpp: what kv_server does on one connection, and what beside all of them.
#pragma once

#include "kv/commands.hpp"
#include "kv/resp.hpp"
#include "kv/store.hpp"

#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/task/sleep.hpp>
#include <gyre/task/stop.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/with_timeout.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace samples {

inline store::time_point kv_now() {
    return std::chrono::floor<std::chrono::milliseconds>(gyre::clock::now());
}

/// Counts a connection for as long as it lasts.
class kv_client {
public:
    explicit kv_client(kv::state& server) noexcept : server_(server) {
        ++server_.clients;
        ++server_.connections;
    }
    kv_client(const kv_client&) = delete;
    kv_client& operator=(const kv_client&) = delete;
    ~kv_client() { --server_.clients; }

private:
    kv::state& server_;
};

/// Runs the commands that have come, until there are no more or `replies` is long enough to be sent.
///
/// \return  what the parser said last; `error` as well when the client has said goodbye.
inline resp::parser::outcome
run_commands(kv::state& server, resp::parser& parser, std::string& replies) {
    constexpr std::size_t replies_max = 65536;
    const store::time_point now = kv_now();
    for (;;) {
        const auto outcome = parser.next();
        if (outcome == resp::parser::outcome::command) {
            bool wants_end = false;
            kv::execute({server, now, parser.arguments(), replies, wants_end});
            if (wants_end) {
                return resp::parser::outcome::error;
            }
            if (replies.size() < replies_max) {
                continue;
            }
        } else if (outcome == resp::parser::outcome::error) {
            resp::add_error(replies, "ERR " + parser.error());
        }
        return outcome;
    }
}

/// Answers commands, in order and those that came together in one send, until the client closes or
/// says goodbye, breaks the protocol, or the server wants to end.
inline gyre::task<>
serve_commands(gyre::stream peer, kv::state& server, std::chrono::nanoseconds idle_limit) {
    const kv_client counted(server);
    std::array<std::byte, 8192> buffer;
    resp::parser parser(server.limits);
    std::string replies;
    for (;;) {
        const auto received =
            co_await gyre::with_timeout(gyre::idle(peer.recv(buffer)), idle_limit);
        if (!received || *received == 0) {
            break;
        }
        server.bytes_in += *received;
        parser.feed({reinterpret_cast<const char*>(buffer.data()), *received});
        auto outcome = resp::parser::outcome::command;
        while (outcome == resp::parser::outcome::command) {
            outcome = run_commands(server, parser, replies);
            const auto sent = co_await gyre::send_all(peer, std::as_bytes(std::span(replies)));
            server.bytes_out += sent.bytes();
            if (!sent) {
                co_return; // Nobody is left to talk to.
            }
            constexpr std::size_t usual_size = 131072;
            if (replies.capacity() > usual_size) {
                replies = std::string();
            }
            replies.clear();
        }
        if (outcome == resp::parser::outcome::error) {
            break;
        }
    }
    const auto finished = co_await peer.finish(std::chrono::seconds(1));
    static_cast<void>(finished); // A client that does not close loses nothing that was its own.
}

/// Removes keys whose end has passed, so that their memory comes back even if nobody asks for them
/// again; never many at once, since clients wait meanwhile. Until it is canceled.
inline gyre::task<gyre::result<void>> expire_keys(kv::state& server) {
    constexpr std::size_t count_max = 1000;
    for (;;) {
        const bool many = server.keys.expire(kv_now(), count_max) == count_max;
        const auto slept = co_await gyre::sleep_for(std::chrono::milliseconds(many ? 1 : 100));
        if (!slept) {
            co_return slept.error();
        }
    }
}

} // namespace samples
