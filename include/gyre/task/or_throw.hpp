#pragma once

#include <gyre/detail/outcome.hpp>
#include <gyre/task/awaitable.hpp>

#include <system_error>
#include <utility>

namespace gyre::inline v0 {

template <class Description>
class or_throw_description;

namespace detail {

template <class Description>
class or_throw_awaiter final : public pending {
    using traits = outcome_traits<outcome_of<Description>>;

public:
    using result_type = typename traits::value_type;

    explicit or_throw_awaiter(or_throw_description<Description>& description) noexcept
        : pending(kind_of), inner_(description.inner_) {}

    bool start(const task_context& context, waiter& told) noexcept {
        return inner_.start(context, told);
    }
    result_type take() {
        auto outcome = inner_.take();
        if (const std::error_code error = traits::error(outcome)) {
            throw std::system_error(error, inner_.name());
        }
        return traits::value(std::move(outcome));
    }

private:
    static pending* request(pending& base, stop_level) noexcept {
        return &static_cast<or_throw_awaiter&>(base).inner_;
    }
    static constexpr pending_kind kind_of = {&request, "or_throw"};

    awaiter_of<Description> inner_;
};

} // namespace detail

/// What `or_throw` returns.
template <class Description>
class [[nodiscard("co_await or_throw(...)")]] or_throw_description : public detail::awaitable_base {
public:
    using awaiter = detail::or_throw_awaiter<Description>;
    explicit or_throw_description(Description&& inner) noexcept : inner_(std::move(inner)) {}

private:
    friend awaiter;
    Description inner_;
};

/// Awaits `inner`; yields its value, or throws `std::system_error` with its error.
///
/// \param inner  an operation, a task or an adaptor that yields a `result` or a `transfer`.
template <detail::adaptable Description>
    requires detail::outcome_traits<detail::outcome_of<Description>>::can_fail
auto or_throw(Description inner) noexcept {
    return or_throw_description<Description>(std::move(inner));
}

} // namespace gyre::inline v0
