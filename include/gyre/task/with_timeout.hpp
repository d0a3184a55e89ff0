#pragma once

#include <gyre/detail/outcome.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/task/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

template <class Description>
class with_timeout_description;

namespace detail {

/// What `with_timeout` makes of an outcome: one that can hold an error stays what it is.
template <class Outcome>
using timed_outcome =
    std::conditional_t<outcome_traits<Outcome>::can_fail, Outcome, result<Outcome>>;

/// Stands between an awaiter that cannot say that it is over and whoever is told, to disarm the
/// timer in time.
template <bool Needed>
class timeout_waiter {
protected:
    waiter& told_of(waiter& told, timer&) noexcept { return told; }
};

template <>
class timeout_waiter<true> : private waiter {
protected:
    timeout_waiter() noexcept : waiter(&inner_done) {}
    waiter& told_of(waiter& told, timer& limit) noexcept {
        told_ = &told;
        limit_ = &limit;
        return *this;
    }

private:
    static void inner_done(waiter& base) noexcept {
        auto& self = static_cast<timeout_waiter&>(base);
        self.limit_->disarm();
        self.told_->notify();
    }
    waiter* told_ = nullptr;
    timer* limit_ = nullptr;
};

template <class Description>
class with_timeout_awaiter final : public pending,
                                   private timer,
                                   private timeout_waiter<!knows_end<awaiter_of<Description>>> {
    using inner_awaiter = awaiter_of<Description>;
    using outcome = outcome_of<Description>;
    using traits = outcome_traits<outcome>;

public:
    using result_type = timed_outcome<outcome>;
    static constexpr bool stop_is_looked_at_once = looks_at_stop_once<inner_awaiter>;

    explicit with_timeout_awaiter(with_timeout_description<Description>& description) noexcept
        : pending(kind_of), timer(&expired), limit_(description.limit_),
          inner_(description.inner_) {}

    bool start(const task_context& context, waiter& told) noexcept {
        stop_state* below = context.stop;
        if constexpr (!stop_is_looked_at_once) {
            stop_.level = context.stop->level;
            below = &stop_;
        }
        waiter& first = this->told_of(told, *this);
        if (inner_.start({context.owner, below, context.parent}, first)) {
            return true;
        }
        context.owner->arm_after(*this, limit_);
        return false;
    }

    // A value that won the race stays a value, and so do the bytes that moved; only the cancel that
    // the limit caused reads as a timeout.
    [[gnu::always_inline]] result_type take() {
        if constexpr (traits::can_fail) {
            outcome inner = inner_.take();
            if (ended_by_ == cause::limit) [[unlikely]] {
                if (const std::error_code error = traits::error(inner)) {
                    traits::replace_error(inner, instead_of_canceled(error, errc::timed_out));
                }
            }
            return inner;
        } else if constexpr (std::is_void_v<outcome>) {
            inner_.take();
            return ended_by_ == cause::limit ? result_type(errc::timed_out) : result_type();
        } else {
            return result_type(inner_.take());
        }
    }

private:
    enum class cause : std::uint8_t { nobody, limit, caller };

    static void expired(timer& base) noexcept {
        auto& self = static_cast<with_timeout_awaiter&>(base);
        if constexpr (knows_end<inner_awaiter>) {
            if (self.inner_.over()) {
                return; // Its task is about to go on with what came in time.
            }
        }
        if constexpr (!stop_is_looked_at_once) {
            if (!self.stop_.raise(stop_level::cancel)) {
                return; // Canceled before, perhaps before it began.
            }
        }
        if (self.ended_by_ == cause::nobody) {
            self.ended_by_ = cause::limit;
            pending::request(&self.inner_, stop_level::cancel);
        }
    }
    static pending* request(pending& base, stop_level level) noexcept {
        auto& self = static_cast<with_timeout_awaiter&>(base);
        if constexpr (!stop_is_looked_at_once) {
            if (!self.stop_.raise(level)) {
                return nullptr;
            }
        }
        if (level == stop_level::cancel && self.ended_by_ == cause::nobody) {
            self.ended_by_ = cause::caller;
        }
        return &self.inner_;
    }
    static constexpr pending_kind kind_of = {&request, "with_timeout"};

    struct nothing {};
    using own_stop = std::conditional_t<stop_is_looked_at_once, nothing, stop_state>;

    engine_time limit_;
    [[no_unique_address]] own_stop stop_;
    cause ended_by_ = cause::nobody;
    inner_awaiter inner_;
};

} // namespace detail

/// What `with_timeout` returns.
template <class Description>
class [[nodiscard("co_await with_timeout(...)")]] with_timeout_description
    : public detail::awaitable_base {
public:
    using awaiter = detail::with_timeout_awaiter<Description>;
    with_timeout_description(Description&& inner, detail::engine_time limit) noexcept
        : limit_(limit), inner_(std::move(inner)) {}

private:
    friend awaiter;
    detail::engine_time limit_;
    Description inner_;
};

/// Awaits `inner`, but cancels it when `limit` has passed.
///
/// Returns when `inner` has ended, so its memory is free to use. A value that was already there, or
/// bytes that had moved, are the outcome even then.
///
/// \param inner  an operation, a task or an adaptor.
/// \param limit  how long from now; the longest time that its type can say is no limit.
/// \return       for an outcome that can hold an error (`result`, `transfer`) the same type; for
///               any other `T` a `result<T>`. Its own error is `errc::timed_out`, which equals
///               `std::errc::timed_out` and is not TCP's `ETIMEDOUT`.
template <detail::adaptable Description, class Rep, class Period>
auto with_timeout(Description inner, const std::chrono::duration<Rep, Period>& limit) noexcept {
    return with_timeout_description<Description>(std::move(inner), detail::nanoseconds_of(limit));
}

} // namespace gyre::inline v0
