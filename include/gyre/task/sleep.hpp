#pragma once

#include <gyre/error.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/task/awaitable.hpp>

#include <cerrno>
#include <chrono>
#include <concepts>

namespace gyre::inline v0 {

class sleep_description;

namespace detail {

class sleep_awaiter final : public pending, private timer {
public:
    using result_type = result<void>;

    explicit sleep_awaiter(sleep_description& description) noexcept;

    bool start(const task_context& context, waiter& told) noexcept {
        if (context.stop->canceled()) {
            canceled_ = true;
            return true;
        }
        told_ = &told;
        if (absolute_) {
            context.owner->arm_at(*this, time_);
        } else {
            context.owner->arm_after(*this, time_);
        }
        return false;
    }
    result_type take() const noexcept {
        if (canceled_) {
            return errno_code(ECANCELED);
        }
        return {};
    }

private:
    static void over(timer& base) noexcept { static_cast<sleep_awaiter&>(base).told_->notify(); }
    static pending* request(pending& base, stop_level level) noexcept {
        auto& self = static_cast<sleep_awaiter&>(base);
        if (level == stop_level::cancel && self.armed()) {
            self.disarm();
            self.canceled_ = true;
            self.told_->notify();
        }
        return nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "sleep"};

    waiter* told_ = nullptr;
    engine_time time_;
    bool absolute_;
    bool canceled_ = false;
};

class yield_awaiter final : public pending, private timer {
public:
    using result_type = void;
    static constexpr bool always_yields = true; // A task that awaits it itself needs no `start`.

    template <class Description>
    explicit yield_awaiter(Description&) noexcept : pending(kind_of), timer(&over) {}
    // Inside of an adaptor: told in the next turn.
    bool start(const task_context& context, waiter& told) noexcept {
        told_ = &told;
        context.owner->arm_after(*this, 0);
        return false;
    }
    void take() const noexcept {}

private:
    static void over(timer& base) noexcept { static_cast<yield_awaiter&>(base).told_->notify(); }
    static pending* request(pending&, stop_level) noexcept { return nullptr; }
    static constexpr pending_kind kind_of = {&request, "yield"};

    waiter* told_ = nullptr;
};

} // namespace detail

/// What `sleep_for` and `sleep_until` return.
class [[nodiscard("co_await the sleep")]] sleep_description : public detail::awaitable_base {
public:
    using awaiter = detail::sleep_awaiter;
    sleep_description(detail::engine_time time, bool absolute) noexcept
        : time_(time), absolute_(absolute) {}

private:
    friend awaiter;
    detail::engine_time time_;
    bool absolute_;
};

inline detail::sleep_awaiter::sleep_awaiter(sleep_description& description) noexcept
    : pending(kind_of), timer(&over), time_(description.time_), absolute_(description.absolute_) {}

/// What `yield` returns.
class [[nodiscard("co_await the yield")]] yield_description : public detail::awaitable_base {
public:
    using awaiter = detail::yield_awaiter;
};

/// Waits for `duration`: never less, and on an idle loop at most a millisecond more.
///
/// \param duration  how long; zero or less waits for one turn of the loop.
/// \return          nothing, or `ECANCELED` if the task was canceled first.
template <class Rep, class Period>
sleep_description sleep_for(std::chrono::duration<Rep, Period> duration) noexcept {
    return sleep_description(detail::nanoseconds_of(duration), false);
}

/// Waits until `time` on gyre's clock. See `sleep_for`.
inline sleep_description sleep_until(clock::time_point time) noexcept {
    return sleep_description(time.time_since_epoch().count(), true);
}

/// Lets every other task that is ready run first, and the kernel be asked for completions.
inline yield_description yield() noexcept {
    return {};
}

} // namespace gyre::inline v0
