#pragma once

#include <gyre/detail/outcome.hpp>
#include <gyre/task/awaitable.hpp>

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
    using traits = outcome_traits<outcome_of<Description>>;

public:
    using result_type = outcome_of<Description>;

    explicit idle_awaiter(idle_description<Description>& description) noexcept
        : pending(kind_of), inner_(description.inner_) {}

    bool start(const task_context& context, waiter& told) noexcept {
        stop_.level = context.stop->level;
        if (stop_.level == stop_level::stop) {
            stop_.level = stop_level::cancel; // Refused like a canceled one, and read as stopped.
            stopped_ = true;
        }
        return inner_.start({context.owner, &stop_, context.parent}, told);
    }
    bool over() const noexcept
        requires knows_end<awaiter_of<Description>>
    {
        return inner_.over();
    }
    result_type take() {
        result_type outcome = inner_.take();
        if (stopped_) [[unlikely]] {
            read_as_stopped(outcome);
        }
        return outcome;
    }

private:
    [[gnu::noinline]] static void read_as_stopped(result_type& outcome) {
        if (is_canceled(traits::error(outcome))) {
            traits::replace_error(outcome, make_error_code(errc::stopped));
        }
    }
    static pending* request(pending& base, stop_level level) noexcept {
        auto& self = static_cast<idle_awaiter&>(base);
        if (!self.stop_.raise(stop_level::cancel)) {
            return nullptr;
        }
        self.stopped_ = level == stop_level::stop;
        pending::request(&self.inner_, stop_level::cancel);
        return nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "idle"};

    stop_state stop_{stop_state::set_later()};
    bool stopped_ = false;
    awaiter_of<Description> inner_;
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
