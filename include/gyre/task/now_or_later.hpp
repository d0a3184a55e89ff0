#pragma once

#include <gyre/task/awaitable.hpp>
#include <gyre/task/task.hpp>

#include <concepts>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

/// What `now_or_later` works with: `now()` yields the outcome if it is there, and `later()` a task
/// that waits for it.
template <class T>
concept attempt = std::is_trivially_destructible_v<T> && requires(T& made) {
    typename T::result_type;
    { made.now() } -> std::same_as<std::optional<typename T::result_type>>;
    { made.later() } -> std::same_as<task<typename T::result_type>>;
};

template <attempt Attempt>
class now_or_later;

namespace detail {

template <class Attempt>
class now_or_later_awaiter final : public pending {
public:
    using result_type = typename Attempt::result_type;

    explicit now_or_later_awaiter(now_or_later<Attempt>& description) noexcept
        : pending(kind_of), attempt_(description.attempt_) {}

    bool start(const task_context& context, waiter& told) noexcept {
        try {
            found_ = attempt_.now();
            if (found_) [[likely]] {
                return true;
            }
            auto made = attempt_.later();
            later_.emplace(made);
        } catch (...) {
            exception_ = std::current_exception();
            return true;
        }
        return later_->start(context, told);
    }
    result_type take() {
        if (found_) [[likely]] {
            return *std::move(found_);
        }
        if (later_) {
            return later_->take();
        }
        std::rethrow_exception(std::move(exception_));
    }

private:
    static pending* request(pending& base, stop_level) noexcept {
        auto& self = static_cast<now_or_later_awaiter&>(base);
        return self.later_ ? &*self.later_ : nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "now_or_later"};

    Attempt& attempt_;
    std::optional<result_type> found_;
    std::optional<task_awaiter<result_type>> later_;
    std::exception_ptr exception_;
};

} // namespace detail

/// Awaits what is often there already. It is tried when it is awaited: what is there is the outcome,
/// in a canceled scope too, and costs no coroutine; otherwise a task waits for it.
template <attempt Attempt>
class [[nodiscard("co_await it")]] now_or_later : public detail::awaitable_base {
public:
    using awaiter = detail::now_or_later_awaiter<Attempt>;
    explicit now_or_later(const Attempt& made) noexcept : attempt_(made) {}

private:
    friend awaiter;
    Attempt attempt_;
};

} // namespace gyre::inline v0
