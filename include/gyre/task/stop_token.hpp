#pragma once

#include <gyre/scheduler/scheduler.hpp>
#include <gyre/task/scope.hpp>

#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

namespace gyre::inline v0 {

/// Ties a scope to a `std::stop_token`: once its source requests a stop, on whichever thread, the
/// scope is stopped or canceled on its own thread. Lives inside the scope's body; when it goes, the
/// token has no say any more. In a header of its own since <stop_token> is heavy.
class [[nodiscard("the link ends when this object does")]] stop_link {
public:
    stop_link(const stop_link&) = delete;
    stop_link& operator=(const stop_link&) = delete;
    ~stop_link() {
        callback_.reset(); // Waits for a callback that is running on another thread.
        target_->which = nullptr;
    }

    /// Calls `scope::request_stop` when `token` says so.
    static stop_link request_stop(scope& which, const std::stop_token& token) {
        return stop_link(which, token, detail::stop_level::stop);
    }
    /// Calls `scope::cancel` when `token` says so.
    static stop_link cancel(scope& which, const std::stop_token& token) {
        return stop_link(which, token, detail::stop_level::cancel);
    }

private:
    // Shared with the function on its way to the scheduler, which may arrive after this object's
    // end. `which` is touched by the scheduler's thread only.
    struct target {
        scope* which;
    };
    struct poster {
        scheduler_handle to;
        std::shared_ptr<target> at;
        detail::stop_level level;

        void operator()() const noexcept {
            // A scheduler that has ended has no scope left to stop.
            static_cast<void>(to.post([at = at, level = level] {
                if (at->which != nullptr) {
                    detail::core_of(*at->which).request(level);
                }
            }));
        }
    };

    stop_link(scope& which, const std::stop_token& token, detail::stop_level level)
        : target_(std::make_shared<target>(&which)) {
        callback_.emplace(token, poster{scheduler::current().handle(), target_, level});
    }

    std::shared_ptr<target> target_;
    std::optional<std::stop_callback<poster>> callback_;
};

} // namespace gyre::inline v0
