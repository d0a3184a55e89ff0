#pragma once

// A byte stream that does what a test has written down: pieces, ends, errors, waits.

#include <gyre/io/byte_stream.hpp>

#include "support/test.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <deque>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace test {

class scripted_stream {
public:
    /// Comes next: bytes, of which one receive sees no more than that many at a time.
    void comes(std::string_view bytes) { script_.push_back({std::string(bytes), {}, false}); }
    void fails(std::error_code error) { script_.push_back({{}, error, false}); }
    /// Nothing comes until the receive is canceled; the next one goes on.
    void waits() { script_.push_back({{}, {}, true}); }

    /// Of each send at most so many bytes are taken...
    std::size_t take_max = std::numeric_limits<std::size_t>::max();
    /// ...and when so many have been in all, `send_ends_by`; a wait for a cancel if that is empty.
    std::size_t room = std::numeric_limits<std::size_t>::max();
    std::error_code send_ends_by = gyre::errno_code(EPIPE);

    std::string taken;
    int receives = 0;
    int sends = 0;
    bool ended = false;

    gyre::task<gyre::result<std::size_t>> recv(std::span<std::byte> buffer) {
        ++receives;
        CHECK(!buffer.empty());
        if (script_.empty()) {
            co_return std::size_t{0};
        }
        step& next = script_.front();
        if (next.waits) {
            script_.pop_front();
            const auto slept = co_await gyre::sleep_for(std::chrono::hours(1));
            co_return slept.error();
        }
        if (next.error) {
            const std::error_code error = next.error;
            script_.pop_front();
            co_return error;
        }
        const std::size_t count = std::min(buffer.size(), next.bytes.size());
        std::memcpy(buffer.data(), next.bytes.data(), count);
        next.bytes.erase(0, count);
        if (next.bytes.empty()) {
            script_.pop_front();
        }
        co_return count;
    }

    gyre::task<gyre::result<std::size_t>> send(std::span<const std::byte> bytes) {
        ++sends;
        const std::size_t count = std::min({bytes.size(), take_max, room - taken.size()});
        if (count == 0 && !bytes.empty()) {
            if (!send_ends_by) {
                const auto slept = co_await gyre::sleep_for(std::chrono::hours(1));
                co_return slept.error();
            }
            co_return send_ends_by;
        }
        taken += text_of(bytes.first(count));
        co_return count;
    }

    gyre::task<gyre::result<void>> shutdown(gyre::shutdown_side) {
        ended = true;
        co_return gyre::result<void>();
    }

private:
    struct step {
        std::string bytes;
        std::error_code error;
        bool waits;
    };
    std::deque<step> script_;
};
static_assert(gyre::layered_stream<scripted_stream>);

} // namespace test
