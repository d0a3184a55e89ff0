#pragma once

#include <gyre/operation/foreign.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

/// What a task can await: a description that names its awaiter. The awaiter is pinned, refers to
/// the description, and offers
///
/// - `bool start(const task_context&, waiter&)`: begins; true if it is over already, else the
/// waiter is
///   told once;
/// - `take()`: the outcome, once it is over;
/// - the base `pending`, by which a stop reaches it.
template <class T>
concept awaitable = std::is_base_of_v<detail::awaitable_base, std::remove_cvref_t<T>> &&
                    requires { typename std::remove_cvref_t<T>::awaiter; };

namespace detail {

template <class Description>
using awaiter_of = typename std::remove_cvref_t<Description>::awaiter;

/// What awaiting a `Description` yields.
template <class Description>
using outcome_of = typename awaiter_of<Description>::result_type;

/// Some awaiters can say that they are over before their task goes on.
template <class Awaiter>
concept knows_end = requires(const Awaiter& awaiter) {
    { awaiter.over() } -> std::same_as<bool>;
};

/// Some awaiters look at the stop state that they are given when they start, and never again: then
/// an adaptor hands its own caller's on and needs none.
template <class Awaiter>
concept looks_at_stop_once = requires { requires Awaiter::stop_is_looked_at_once; };

/// Some descriptions speak to the awaiting coroutine itself (`or_return`), so no adaptor takes
/// them.
template <class T>
concept adaptable = awaitable<T> && !requires { std::remove_cvref_t<T>::must_be_outermost; };

/// What `co_await` works with inside a task: it connects an awaiter to the awaiting frame.
template <class Awaiter, class Description>
class [[nodiscard]] awaited final {
public:
    explicit awaited(Description& description) noexcept : inner_(description) {}
    awaited(const awaited&) = delete;
    awaited& operator=(const awaited&) = delete;

    bool await_ready() const noexcept { return false; }

    // Publishes the frame as its last act: nothing of it is touched once the inner awaiter has it.
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        Promise& promise = handle.promise();
        frame& self = promise;
        if constexpr (requires { inner_.bind(promise); }) {
            inner_.bind(promise);
        }
        if constexpr (requires { Awaiter::always_yields; }) {
            self.context.owner->make_ready(self);
            return true;
        }
        self.awaiting = &inner_;
        if (!inner_.start({self.context.owner, self.context.stop, &self}, self)) [[likely]] {
            return true;
        }
        self.awaiting = nullptr;
        return finish_at_once(self);
    }

    [[gnu::always_inline]] decltype(auto) await_resume() { return inner_.take(); }

private:
    // Over at once. Through the queue all the same when the scope is canceled, so that a loop that
    // ignores errors cannot hold the thread; and once in a while, so that no loop can.
    static bool finish_at_once(frame& self) noexcept {
        run_loop& loop = *self.context.owner;
        if constexpr (requires { Awaiter::never_refused; }) {
            return false;
        }
        if (self.context.stop->canceled()) {
            loop.count_refusal(self);
        } else if (!loop.streak_is_over()) {
            return false;
        }
        loop.make_ready(self);
        return true;
    }

    Awaiter inner_;
};

} // namespace detail
} // namespace gyre::inline v0
