#include <gyre/io/connect_to.hpp>

#include <gyre/error.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/resolve.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/sleep.hpp>
#include <gyre/task/task.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::inline v0 {

namespace {

using namespace std::chrono_literals;

// RFC 8305, 4: the families in turn, beginning with that of the best address, each in its order.
std::vector<endpoint> in_turn(const std::vector<endpoint>& candidates, address_family wanted) {
    std::vector<endpoint> first;
    std::vector<endpoint> other;
    for (const endpoint& each : candidates) {
        if (wanted == address_family::unspecified || each.family() == wanted) {
            const bool as_first = first.empty() || each.family() == first.front().family();
            (as_first ? first : other).push_back(each);
        }
    }
    std::vector<endpoint> order;
    order.reserve(first.size() + other.size());
    for (std::size_t index = 0; index < std::max(first.size(), other.size()); ++index) {
        if (index < first.size()) {
            order.push_back(first[index]);
        }
        if (index < other.size()) {
            order.push_back(other[index]);
        }
    }
    return order;
}

// The errors that tell of this machine's routes and not of the host.
bool says_no_way(std::error_code error) noexcept {
    return error == errno_code(ENETUNREACH) || error == errno_code(EHOSTUNREACH) ||
           error == errno_code(EADDRNOTAVAIL) || error == errno_code(EAFNOSUPPORT);
}

// The attempts at one host: children of one scope, which ends with the first that connects, or with
// the last that fails.
class race {
public:
    race(std::vector<endpoint> order, const connect_to_options& options)
        : order_(std::move(order)), outcomes_(order_.size(), errno_code(ECANCELED)),
          delay_(std::clamp<std::chrono::nanoseconds>(options.attempt_delay, 10ms, 2s)),
          no_delay_(options.no_delay) {}

    bool empty() const noexcept { return order_.empty(); }

    // The body of the scope: sets the pace.
    task<> pace(scope& attempts) {
        start_next(attempts);
        while (started_ < order_.size()) {
            const auto slept = co_await sleep_until(last_start_ + delay_);
            if (!slept) {
                break; // Decided, or canceled.
            }
            // A failure may have started the next one meanwhile.
            if (clock::now() >= last_start_ + delay_) {
                start_next(attempts);
            }
        }
        const auto joined = co_await attempts.join();
        static_cast<void>(joined); // No attempt fails as a task.
    }

    result<stream> take_outcome() noexcept {
        if (winner_) {
            return std::move(*winner_);
        }
        if (failed_ != order_.size()) {
            return errno_code(ECANCELED);
        }
        const auto telling = std::find_if_not(outcomes_.begin(), outcomes_.end(), says_no_way);
        return telling != outcomes_.end() ? *telling : outcomes_.front();
    }

    void note(std::vector<connect_attempt>& attempts) const {
        attempts.clear();
        for (std::size_t index = 0; index < started_; ++index) {
            attempts.push_back({order_[index], outcomes_[index]});
        }
    }

private:
    void start_next(scope& attempts) {
        if (started_ < order_.size() && !attempts.canceled()) {
            last_start_ = clock::now();
            attempts.spawn(attempt(attempts, started_++));
        }
    }

    task<> attempt(scope& attempts, std::size_t index) {
        connect_options options;
        options.no_delay = no_delay_;
        auto connected = co_await stream::connect(order_[index], options);
        if (connected && winner_) {
            co_return; // Another one was first, in the same turn: this one is closed.
        }
        outcomes_[index] = connected.error();
        if (connected) {
            winner_.emplace(*std::move(connected));
            attempts.cancel();
        } else if (!attempts.canceled()) {
            ++failed_;
            if (failed_ == order_.size()) {
                attempts.cancel(); // The pace may be asleep.
            } else {
                start_next(attempts);
            }
        }
    }

    std::vector<endpoint> order_;
    std::vector<std::error_code> outcomes_;
    std::chrono::nanoseconds delay_;
    bool no_delay_;
    clock::time_point last_start_;
    std::size_t started_ = 0;
    std::size_t failed_ = 0;
    std::optional<stream> winner_;
};

} // namespace

task<result<stream>> connect_to(std::vector<endpoint> candidates, connect_to_options options) {
    race attempts(in_turn(candidates, options.family), options);
    if (attempts.empty()) {
        co_return errno_code(EDESTADDRREQ);
    }
    const auto pace = [&attempts](scope& children) { return attempts.pace(children); };
    co_await with_scope(pace);
    if (options.attempts != nullptr) {
        attempts.note(*options.attempts);
    }
    co_return attempts.take_outcome();
}

namespace {

// One for a name of a service and for a number.
template <class Service>
task<result<stream>>
find_and_connect(std::string host, Service service, connect_to_options options) {
    resolve_options question;
    question.family = options.family;
    auto found = co_await resolve(host, service, question);
    if (!found) {
        if (options.attempts != nullptr) {
            options.attempts->clear();
        }
        co_return found.error();
    }
    auto connected = co_await connect_to(*std::move(found), options);
    co_return std::move(connected);
}

} // namespace

task<result<stream>> connect_to(std::string host, std::string service, connect_to_options options) {
    return find_and_connect(std::move(host), std::move(service), options);
}

task<result<stream>> connect_to(std::string host, std::uint16_t port, connect_to_options options) {
    return find_and_connect(std::move(host), port, options);
}

} // namespace gyre::inline v0
