// load_session.hpp: what load does on one connection.
#pragma once

#include "latencies.hpp"

#include <gyre/error.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/with_timeout.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace samples {

/// The bytes that connections carry: one endless sequence, and each connection starts somewhere
/// else in it. It repeats after a prime number of bytes, so that a message which is lost, doubled
/// or swapped with another one is seen whatever its size.
class load_pattern {
public:
    static constexpr std::size_t piece_max = 65536;

    load_pattern() : bytes_(period + piece_max) {
        std::uint64_t state = 1;
        for (std::size_t index = 0; index < period; ++index) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            bytes_[index] = static_cast<std::byte>(state >> 56U);
        }
        std::copy_n(bytes_.begin(), piece_max, bytes_.begin() + period);
    }

    /// The bytes from `position` on; at most `piece_max` of them.
    std::span<const std::byte> piece(std::uint64_t position, std::uint64_t size) const noexcept {
        const auto start = static_cast<std::size_t>(position % period);
        return std::span(bytes_).subspan(start, std::min<std::uint64_t>(size, piece_max));
    }

private:
    static constexpr std::size_t period = 65537;
    std::vector<std::byte> bytes_;
};

struct load_settings {
    std::size_t size = 64;    ///< Bytes of a request.
    std::size_t pipeline = 1; ///< Requests that are on their way at the same time.
    /// How long the next byte may take.
    std::chrono::nanoseconds patience = std::chrono::seconds(10);
};

/// What the connections count together.
struct load_totals {
    std::uint64_t requests = 0;
    gyre::clock::time_point last_answer; ///< When the last answer was complete.
    latencies times;                     ///< From the request to the last byte of its answer.
};

/// One connection: keeps `pipeline` requests on their way until the deadline, then waits for the
/// answers and says goodbye. It stays where it is while it runs.
class load_session {
public:
    load_session(
        gyre::stream&& peer,
        std::uint64_t origin,
        const load_settings& chosen,
        const load_pattern& pattern,
        load_totals& totals
    )
        : peer_(std::move(peer)), origin_(origin), chosen_(chosen), pattern_(pattern),
          totals_(totals), asked_at_(chosen.pipeline) {}

    /// \return  `EBADMSG` for a byte that is wrong or too many, `errc::end_of_stream` for one that
    ///          is missing, `errc::timed_out` for one that does not come.
    gyre::task<gyre::result<void>> run(gyre::clock::time_point deadline) {
        auto talking = [this, deadline](gyre::scope& sending) { return talk(sending, deadline); };
        const auto talked = co_await gyre::with_scope(talking);
        if (!talked) {
            co_return talked;
        }
        const auto ended = peer_.shutdown(gyre::shutdown_side::send);
        if (!ended) {
            co_return ended;
        }
        std::byte more;
        const std::size_t count = co_await gyre::or_return(
            gyre::with_timeout(peer_.recv(std::span(&more, 1)), chosen_.patience)
        );
        if (count != 0) {
            co_return gyre::errno_code(EBADMSG);
        }
        co_return gyre::result<void>();
    }

    /// How many bytes came back, all of them right.
    std::uint64_t received() const noexcept { return received_; }

private:
    gyre::task<gyre::result<void>> talk(gyre::scope& sending, gyre::clock::time_point deadline) {
        std::vector<std::byte> buffer(
            std::clamp<std::size_t>(chosen_.size * chosen_.pipeline, 4096, load_pattern::piece_max)
        );
        ask(sending, chosen_.pipeline, gyre::clock::now());
        while (received_ < asked_ * chosen_.size) {
            const std::size_t count =
                co_await gyre::or_return(gyre::with_timeout(peer_.recv(buffer), chosen_.patience));
            if (count == 0) {
                co_return gyre::errc::end_of_stream;
            }
            const auto expected = pattern_.piece(origin_ + received_, count);
            if (received_ + count > sent_or_sending_ ||
                std::memcmp(expected.data(), buffer.data(), count) != 0) {
                co_return gyre::errno_code(EBADMSG);
            }
            received_ += count;

            const auto now = gyre::clock::now();
            std::size_t answers = 0;
            for (; (answered_ + 1) * chosen_.size <= received_; ++answered_, ++answers) {
                totals_.times.record(now - asked_at_[answered_ % chosen_.pipeline]);
            }
            if (answers != 0) {
                totals_.requests += answers;
                totals_.last_answer = now;
                if (now < deadline) {
                    ask(sending, answers, now);
                }
            }
        }
        co_return gyre::result<void>();
    }

    // Sending has a task of its own, since a server that is not read from stops reading. It is
    // there while there is something to send.
    void ask(gyre::scope& sending, std::size_t count, gyre::clock::time_point now) {
        for (; count != 0; --count, ++asked_) {
            asked_at_[asked_ % chosen_.pipeline] = now;
        }
        if (!sending_) {
            sending_ = true;
            sending.spawn([this] { return send_what_is_asked(); });
        }
    }

    gyre::task<gyre::result<void>> send_what_is_asked() {
        while (sent_ < asked_ * chosen_.size) {
            const auto piece = pattern_.piece(origin_ + sent_, asked_ * chosen_.size - sent_);
            sent_or_sending_ = sent_ + piece.size();
            const std::size_t count = co_await gyre::or_return(gyre::send_all(peer_, piece));
            sent_ += count;
        }
        sending_ = false;
        co_return gyre::result<void>();
    }

    gyre::stream peer_;
    const std::uint64_t origin_;
    const load_settings& chosen_;
    const load_pattern& pattern_;
    load_totals& totals_;
    std::vector<gyre::clock::time_point> asked_at_; // By request modulo `pipeline`.
    std::uint64_t asked_ = 0;                       // Requests.
    std::uint64_t answered_ = 0;                    // Requests.
    std::uint64_t sent_ = 0;                        // Bytes, as are the others.
    std::uint64_t sent_or_sending_ = 0;
    std::uint64_t received_ = 0;
    bool sending_ = false;
};

} // namespace samples
