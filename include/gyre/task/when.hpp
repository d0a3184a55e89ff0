#pragma once

#include <gyre/detail/outcome.hpp>
#include <gyre/result.hpp>
#include <gyre/task/awaitable.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace gyre::inline v0::detail {

/// An outcome that can stand in a tuple: `void` becomes a `result<void>` that succeeded.
template <class Outcome>
using tuple_outcome = std::conditional_t<std::is_void_v<Outcome>, result<void>, Outcome>;

class when_group;

/// The part of a branch that the group works with.
class when_branch : public waiter {
public:
    when_branch(when_group& of, std::size_t position, notify_function* done) noexcept
        : waiter(done), group(of), index(position) {}

    virtual bool begin(const task_context& context) noexcept = 0;
    virtual pending& inner() noexcept = 0;
    /// Takes the outcome in; true if it is a failure.
    virtual bool keep() noexcept = 0;

    stop_state stop;
    std::exception_ptr exception;
    when_group& group;
    std::size_t index;
    bool running = false;

protected:
    ~when_branch() = default;
};

/// What `when_all` and `when_any` share: branches that run side by side, and an end that comes when
/// all of them have ended.
class when_group : public pending {
public:
    static constexpr std::size_t nobody = ~std::size_t{0};

protected:
    when_group(const pending_kind& kind, bool first_ends_all) noexcept
        : pending(kind), first_ends_all_(first_ends_all) {}
    ~when_group() = default;

    bool start_all(
        when_branch* const* branches, std::size_t count, const task_context& context, waiter& told
    ) noexcept;

    static void branch_done(waiter& branch) noexcept;
    static pending* request_all(pending& self, stop_level level) noexcept;
    void rethrow_first();

    std::size_t first_ = nobody; // The branch that ended first.

private:
    void ended(when_branch& branch) noexcept;
    void pass_on(stop_level level) noexcept;

    waiter* told_ = nullptr;
    when_branch* const* branches_ = nullptr;
    std::size_t count_ = 0;
    std::size_t running_ = 0;
    std::size_t first_thrown_ = nobody;
    bool first_ends_all_;
};

template <std::size_t Index, class Description>
class when_branch_of : public when_branch {
    using outcome = outcome_of<Description>;
    using stored = tuple_outcome<outcome>;

public:
    when_branch_of(when_group& of, notify_function* done, Description& description) noexcept
        : when_branch(of, Index, done), inner_(description) {}
    bool begin(const task_context& context) noexcept override {
        return inner_.start({context.owner, &stop, context.parent}, *this);
    }
    pending& inner() noexcept override { return inner_; }

    bool keep() noexcept override {
        try {
            if constexpr (std::is_void_v<outcome>) {
                inner_.take();
                std::construct_at(std::addressof(outcome_));
            } else {
                std::construct_at(std::addressof(outcome_), inner_.take());
            }
        } catch (...) {
            exception = std::current_exception();
            return true;
        }
        kept_ = true;
        if constexpr (outcome_traits<outcome>::can_fail) {
            return static_cast<bool>(outcome_traits<outcome>::error(outcome_));
        } else {
            return false;
        }
    }
    stored&& take() noexcept { return std::move(outcome_); }

protected:
    ~when_branch_of() {
        if (kept_) {
            std::destroy_at(std::addressof(outcome_));
        }
    }

private:
    awaiter_of<Description> inner_;
    union {
        stored outcome_;
    };
    bool kept_ = false;
};

/// \tparam FirstEndsAll  `when_any` rather than `when_all`.
template <bool FirstEndsAll, class... Descriptions>
class when_description;

} // namespace gyre::inline v0::detail

namespace gyre::inline v0 {

/// What `when_any` yields: who ended first, and how everybody ended.
template <class... Outcomes>
struct any_outcome {
    any_outcome(std::size_t winner, std::tuple<Outcomes...>&& all) noexcept
        : index(winner), outcomes(std::move(all)) {}

    std::size_t index;                ///< Of the branch that ended first.
    std::tuple<Outcomes...> outcomes; ///< Of every branch, by index.
};

namespace detail {

template <bool FirstEndsAll, class Indices, class... Descriptions>
class when_awaiter_of;

template <bool FirstEndsAll, std::size_t... Index, class... Descriptions>
class when_awaiter_of<FirstEndsAll, std::index_sequence<Index...>, Descriptions...> final
    : public when_group,
      private when_branch_of<Index, Descriptions>... {
    using outcomes = std::tuple<tuple_outcome<outcome_of<Descriptions>>...>;

public:
    using result_type = std::conditional_t<
        FirstEndsAll,
        any_outcome<tuple_outcome<outcome_of<Descriptions>>...>,
        outcomes>;

    explicit when_awaiter_of(when_description<FirstEndsAll, Descriptions...>& description) noexcept
        : when_group(kind_of, FirstEndsAll),
          when_branch_of<Index, Descriptions>(
              *this, &when_group::branch_done, std::get<Index>(description.descriptions_)
          )...,
          branches_{static_cast<when_branch_of<Index, Descriptions>*>(this)...} {}

    bool start(const task_context& context, waiter& told) noexcept {
        return start_all(branches_, sizeof...(Index), context, told);
    }
    result_type take() {
        rethrow_first();
        outcomes all(static_cast<when_branch_of<Index, Descriptions>&>(*this).take()...);
        if constexpr (FirstEndsAll) {
            return result_type(first_, std::move(all));
        } else {
            return all;
        }
    }

private:
    static constexpr pending_kind kind_of = {
        &when_group::request_all,
        FirstEndsAll ? "when_any" : "when_all",
    };
    when_branch* branches_[sizeof...(Index)];
};

template <bool FirstEndsAll, class... Descriptions>
class [[nodiscard("co_await when_all(...) or when_any(...)")]] when_description
    : public awaitable_base {
public:
    using awaiter =
        when_awaiter_of<FirstEndsAll, std::index_sequence_for<Descriptions...>, Descriptions...>;

    explicit when_description(Descriptions&&... descriptions) noexcept
        : descriptions_(std::move(descriptions)...) {}

private:
    friend awaiter;
    std::tuple<Descriptions...> descriptions_;
};

} // namespace detail
} // namespace gyre::inline v0
