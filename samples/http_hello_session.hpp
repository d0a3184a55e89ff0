// http_hello_session.hpp: what http_hello does on one connection.
#pragma once

#include "http_reply.hpp"
#include "http_request.hpp"
#include "input.hpp"

#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/task/stop.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/with_timeout.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>

namespace samples {

/// Takes requests out of what comes, in any pieces, and drops their bodies.
///
/// After `feed`, `next` is called until it says something else than `outcome::request`. It says the
/// same whatever pieces a conversation comes in.
class http_requests {
public:
    static constexpr std::size_t head_max = 16384;
    static constexpr std::uint64_t body_max = 65536;

    enum class outcome {
        request, ///< `head` has it.
        more,    ///< The rest has not come yet; the chunk may go.
        refused, ///< With `status`. Where the next request begins is not known: nothing follows.
    };

    /// The chunk stays where it is until `next` wants more.
    void feed(std::string_view chunk) { input_.add(chunk); }

    outcome next() {
        if (is_complete_) {
            head_ = {};
            head_size_ = 0;
            has_line_ = false;
            is_complete_ = false;
        }
        const auto skipped = std::min<std::uint64_t>(body_left_, input_.text().size());
        input_.drop(static_cast<std::size_t>(skipped));
        body_left_ -= skipped;
        while (status_ == 0) {
            const std::size_t end = input_.text().find('\n');
            if (head_size_ + std::min(end, input_.text().size()) >= head_max) {
                refuse(431);
            } else if (end == std::string_view::npos) {
                input_.keep();
                return outcome::more;
            } else {
                refuse(take_line(input_.text().substr(0, end)));
                input_.drop(end + 1);
                head_size_ += end + 1;
                if (is_complete_) {
                    return outcome::request;
                }
            }
        }
        return outcome::refused;
    }

    const http_request& head() const noexcept { return head_; }
    int status() const noexcept { return status_; }

private:
    // Unless it is 0.
    void refuse(int status) {
        status_ = status;
        head_.keep_alive = head_.keep_alive && status == 0;
    }

    // The status of the refusal, or 0.
    int take_line(std::string_view line) {
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        if (!line.empty()) {
            const bool is_first = !has_line_;
            has_line_ = true;
            return is_first ? parse_request_line(line, head_) : parse_header(line, head_);
        }
        if (!has_line_) {
            return 0; // Some clients end a body with an empty line too many.
        }
        const int refused = check_request(head_);
        const std::string_view encoding = head_.transfer_encoding;
        if (refused != 0 || !encoding.empty()) {
            return refused != 0 ? refused : equals_ignoring_case(encoding, "chunked") ? 411 : 501;
        }
        body_left_ = head_.content_length.value_or(0);
        if (body_left_ > body_max) {
            return 413;
        }
        if (head_.expects_continue && body_left_ != 0) {
            head_.keep_alive = false; // With its answer the client may leave the body out.
        }
        is_complete_ = true;
        return 0;
    }

    input input_;
    http_request head_;
    std::size_t head_size_ = 0; // Of it so far.
    bool has_line_ = false;     // Of the head, the first one.
    bool is_complete_ = false;
    std::uint64_t body_left_ = 0; // To be dropped before the next head.
    int status_ = 0;
};

/// The answer to every request, made anew once in a second for its date.
class greeting {
public:
    static constexpr std::string_view body = "Hello, World!\n";

    void add_to(std::string& replies, const http_request& asked, std::time_t now) {
        if (now != made_ || head_.empty()) {
            made_ = now;
            head_ = head(true, now);
        }
        if (asked.keep_alive) {
            replies += head_;
        } else {
            replies += head(false, now);
        }
        if (!asked.head_only) {
            replies += body;
        }
    }

private:
    static std::string head(bool keep_alive, std::time_t now) {
        return head_of(200, body.size(), keep_alive, now) + "Content-Type: text/plain\r\n\r\n";
    }

    std::time_t made_ = 0;
    std::string head_;
};

/// Answers what has come.
///
/// \return  whether the conversation goes on.
inline bool greet(http_requests& requests, greeting& hello, std::string& replies) {
    const std::time_t now = std::time(nullptr);
    for (;;) {
        const auto outcome = requests.next();
        if (outcome == http_requests::outcome::more) {
            return true;
        }
        if (outcome == http_requests::outcome::refused) {
            replies += status_reply(requests.status(), requests.head());
            return false;
        }
        hello.add_to(replies, requests.head(), now);
        if (!requests.head().keep_alive) {
            return false;
        }
    }
}

/// Answers requests, in order and those that came together in one send, until the client closes or
/// is silent for too long, or the server wants to end.
inline gyre::task<>
serve_greetings(gyre::stream peer, greeting& hello, std::chrono::nanoseconds patience) {
    std::array<std::byte, 8192> buffer;
    http_requests requests;
    std::string replies;
    for (bool goes_on = true; goes_on;) {
        const auto received = co_await gyre::with_timeout(gyre::idle(peer.recv(buffer)), patience);
        if (!received || *received == 0) {
            break;
        }
        requests.feed({reinterpret_cast<const char*>(buffer.data()), *received});
        replies.clear();
        goes_on = greet(requests, hello, replies);
        const auto sent = co_await gyre::with_timeout(
            gyre::send_all(peer, std::as_bytes(std::span(replies))), patience
        );
        if (!sent) {
            co_return; // Half an answer must not look like a whole one.
        }
    }
    const auto finished = co_await peer.finish(std::chrono::seconds(1));
    static_cast<void>(finished); // A client that does not close loses nothing that was its own.
}

} // namespace samples
