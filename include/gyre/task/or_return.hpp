#pragma once

#include <gyre/detail/outcome.hpp>
#include <gyre/task/task.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

template <class Description>
class or_return_description;

namespace detail {

template <class Description>
class or_return_awaiter final : public pending, private waiter {
    using outcome = outcome_of<Description>;
    using traits = outcome_traits<outcome>;

public:
    using result_type = typename traits::value_type;

    explicit or_return_awaiter(or_return_description<Description>& description) noexcept
        : pending(kind_of), waiter(&inner_done), inner_(description.inner_) {}
    ~or_return_awaiter() {
        if (stored_) {
            std::destroy_at(std::addressof(outcome_));
        }
    }

    template <class Promise>
    void bind(Promise& promise) noexcept {
        static_assert(
            is_result_v<typename Promise::value_type>,
            "or_return returns the error to this task's caller: the task must yield a result"
        );
        frame_ = &promise;
        fail_ = [](frame& self, std::error_code error) {
            static_cast<Promise&>(self).store().emplace(error);
        };
    }

    bool start(const task_context& context, waiter& told) noexcept {
        told_ = &told;
        if (!inner_.start(context, *this)) {
            return false;
        }
        return keep() || leave();
    }

    result_type take() {
        if (exception_) [[unlikely]] {
            std::rethrow_exception(std::move(exception_));
        }
        return traits::value(std::move(outcome_));
    }

private:
    // Takes the outcome; false if the task is to be left.
    bool keep() noexcept {
        try {
            std::construct_at(std::addressof(outcome_), inner_.take());
        } catch (...) {
            exception_ = std::current_exception();
            return true;
        }
        stored_ = true;
        return !traits::error(outcome_);
    }

    // The failed coroutine is never resumed. The loop destroys its frame, so its locals go before
    // its caller is told, as they would by co_return.
    bool leave() noexcept {
        fail_(*frame_, traits::error(outcome_));
        frame_->context.owner->abandon(*frame_);
        return false;
    }

    static void inner_done(waiter& base) noexcept {
        auto& self = static_cast<or_return_awaiter&>(base);
        if (self.keep()) {
            self.told_->notify();
        } else {
            self.leave();
        }
    }
    static pending* request(pending& base, stop_level) noexcept {
        return &static_cast<or_return_awaiter&>(base).inner_;
    }
    static constexpr pending_kind kind_of = {&request, "or_return"};

    awaiter_of<Description> inner_;
    waiter* told_ = nullptr;
    frame* frame_ = nullptr;
    void (*fail_)(frame&, std::error_code) = nullptr;
    std::exception_ptr exception_;
    union {
        outcome outcome_;
    };
    bool stored_ = false;
};

} // namespace detail

/// What `or_return` returns.
template <class Description>
class [[nodiscard("co_await or_return(...)")]] or_return_description
    : public detail::awaitable_base {
public:
    using awaiter = detail::or_return_awaiter<Description>;
    static constexpr bool must_be_outermost = true;

    explicit or_return_description(Description&& inner) noexcept : inner_(std::move(inner)) {}

private:
    friend awaiter;
    Description inner_;
};

/// Awaits `inner`; yields its value, or returns its error to the caller of this task.
///
/// `size_t n = co_await or_return(peer.recv(buffer));` inside a `task<result<T>>`. On failure the
/// task is not resumed: its locals are destroyed as by `co_return`, then its caller gets the error.
///
/// \param inner  an operation, a task or an adaptor that yields a `result` or a `transfer`.
template <detail::adaptable Description>
    requires detail::outcome_traits<detail::outcome_of<Description>>::can_fail
auto or_return(Description inner) noexcept {
    return or_return_description<Description>(std::move(inner));
}

} // namespace gyre::inline v0
