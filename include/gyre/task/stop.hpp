#pragma once

#include <gyre/detail/outcome.hpp>
#include <gyre/task/awaitable.hpp>

#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

template <class Description>
class shielded_description;
template <class Description>
class idle_description;

namespace detail {

template <class Description>
class shielded_awaiter final : public pending {
public:
    using result_type = outcome_of<Description>;

    explicit shielded_awaiter(shielded_description<Description>& description) noexcept
        : pending(kind_of), inner_(description.inner_) {}

    bool start(const task_context& context, waiter& told) noexcept {
        return inner_.start({context.owner, &stop_, context.parent}, told);
    }
    result_type take() { return inner_.take(); }

private:
    static pending* request(pending&, stop_level) noexcept { return nullptr; }
    static constexpr pending_kind kind_of = {&request, "shielded"};

    stop_state stop_;
    awaiter_of<Description> inner_;
};

template <class Description>
class idle_awaiter final : public pending {
    using inner_awaiter = awaiter_of<Description>;
    using traits = outcome_traits<outcome_of<Description>>;

public:
    using result_type = outcome_of<Description>;
    static constexpr bool stop_is_looked_at_once = looks_at_stop_once<inner_awaiter>;

    explicit idle_awaiter(idle_description<Description>& description) noexcept
        : pending(kind_of), inner_(description.inner_) {}

    bool start(const task_context& context, waiter& told) noexcept {
        if (context.stop->level != stop_level::none) [[unlikely]] {
            return start_stopped(context, told);
        }
        if constexpr (stop_is_looked_at_once) {
            return inner_.start(context, told);
        } else {
            return inner_.start({context.owner, &stop_, context.parent}, told);
        }
    }
    bool over() const noexcept
        requires knows_end<inner_awaiter>
    {
        return inner_.over();
    }
    [[gnu::always_inline]] result_type take() {
        result_type outcome = inner_.take();
        if (asked_ == stop_level::stop) [[unlikely]] {
            if (const std::error_code error = traits::error(outcome)) {
                traits::replace_error(outcome, instead_of_canceled(error, errc::stopped));
            }
        }
        return outcome;
    }

private:
    // Refused like a canceled one, and read as stopped if it is no more than that.
    [[gnu::noinline]] bool start_stopped(const task_context& context, waiter& told) noexcept {
        asked_ = context.stop->level;
        if constexpr (!stop_is_looked_at_once) {
            stop_.level = stop_level::cancel;
            return inner_.start({context.owner, &stop_, context.parent}, told);
        } else {
            return inner_.start({context.owner, &always_canceled, context.parent}, told);
        }
    }
    static pending* request(pending& base, stop_level level) noexcept {
        auto& self = static_cast<idle_awaiter&>(base);
        if (self.asked_ != stop_level::none) {
            return nullptr;
        }
        self.asked_ = level;
        if constexpr (!stop_is_looked_at_once) {
            self.stop_.level = stop_level::cancel;
        }
        pending::request(&self.inner_, stop_level::cancel);
        return nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "idle"};

    struct nothing {};
    using own_stop = std::conditional_t<stop_is_looked_at_once, nothing, stop_state>;

    [[no_unique_address]] own_stop stop_;
    stop_level asked_ = stop_level::none; // What was asked for first.
    inner_awaiter inner_;
};

} // namespace detail

/// What `shielded` returns.
template <class Description>
class [[nodiscard("co_await shielded(...)")]] shielded_description : public detail::awaitable_base {
public:
    using awaiter = detail::shielded_awaiter<Description>;
    explicit shielded_description(Description&& inner) noexcept : inner_(std::move(inner)) {}

private:
    friend awaiter;
    Description inner_;
};

/// What `idle` returns.
template <class Description>
class [[nodiscard("co_await idle(...)")]] idle_description : public detail::awaitable_base {
public:
    using awaiter = detail::idle_awaiter<Description>;
    explicit idle_description(Description&& inner) noexcept : inner_(std::move(inner)) {}

private:
    friend awaiter;
    Description inner_;
};

/// Awaits `inner` and lets no stop reach it: neither a wish nor a cancel. For the last words that
/// must be said; give it a limit of its own.
template <detail::adaptable Description>
auto shielded(Description inner) noexcept {
    return shielded_description<Description>(std::move(inner));
}

/// Awaits `inner`, a wait that is safe to end when a stop is asked for: a server waiting for its
/// next request. It then yields `errc::stopped`; data that had arrived is the outcome all the same.
template <detail::adaptable Description>
    requires detail::outcome_traits<detail::outcome_of<Description>>::can_fail
auto idle(Description inner) noexcept {
    return idle_description<Description>(std::move(inner));
}

namespace this_task {

/// True once a stop was asked for, or a cancel came, where this task runs: in its scope, or in the
/// branch of `when_all` and `when_any`, the `with_timeout`, `idle` or `shielded` that is nearer. To
/// be called from a task.
bool stop_requested() noexcept;

/// The same for a cancel alone.
bool canceled() noexcept;

} // namespace this_task
} // namespace gyre::inline v0
