#pragma once

#include <gyre/detail/assert.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace gyre::inline v0::detail {

/// What a description of an operation offers. It is what a call such as `peer.recv(buffer)`
/// returns: small, movable, inert. It says
///
/// - `result_type`, `opcode`, `name`, `can_poll_first`;
/// - `prepare(submission&)`: fills the entry;
/// - `take(result)`: turns the kernel's result into the outcome;
///
/// and, where it has something to say,
///
/// - `begin(run_loop&, result&)`: runs before the first submission; false ends the operation at
/// once;
/// - `again(result)`: whether the operation has to be submitted again to go on;
/// - `reclaim(result)`: gives back what a success that nobody takes has brought;
/// - `never_refused`: it runs in a canceled scope too, and is never canceled;
/// - `in_flight()`: where the id of the operation is noted while it runs; two at one place at the
/// same
///   time are a broken precondition.
///
/// The awaiter, which lives in the awaiting coroutine's frame, refers to the description, which
/// lives at least as long: to the end of the full expression.
template <class Description>
class operation_awaiter final : public operation {
public:
    using result_type = typename Description::result_type;
    static constexpr bool stop_is_looked_at_once = true;

    explicit operation_awaiter(Description& description) noexcept
        : operation(kind_of), description_(description) {}

    /// Structure keeps a frame alive while it waits. Should it go all the same, the kernel is made
    /// to finish with its memory first.
    ~operation_awaiter() {
        if (taken_ || state_ == operation_state::idle) [[likely]] {
            return;
        }
        if (in_flight()) {
            loop_->drain(*this);
            note(0);
        }
        if constexpr (requires { description_.reclaim(std::int32_t{}); }) {
            if (result_ >= 0) {
                loop_->count_reclaimed();
                description_.reclaim(result_);
            }
        }
    }

    /// Begins. True if it is over already: then `told` is not told.
    bool start(const task_context& context, waiter& told) noexcept {
        told_ = &told;
        loop_ = context.owner;
        if constexpr (!is_never_refused) {
            if (context.stop->canceled()) [[unlikely]] {
                result_ = -ECANCELED;
                state_ = operation_state::done;
                return true;
            }
        }
        if constexpr (requires { description_.begin(*loop_, result_); }) {
            std::int32_t outcome = 0;
            if (!description_.begin(*loop_, outcome)) {
                result_ = outcome;
                state_ = operation_state::done;
                return true;
            }
        }
        if constexpr (requires { description_.in_flight(); }) {
            GYRE_ASSERT_ALWAYS(
                *description_.in_flight() == 0,
                "one operation per direction and descriptor: await the first before the second"
            );
        }
        submit();
        return false;
    }

    /// True once the last completion has come, whether or not the task knows.
    bool over() const noexcept { return state_ == operation_state::done; }

    result_type take() noexcept(noexcept(std::declval<Description&>().take(0))) {
        taken_ = true;
        return description_.take(result_);
    }

private:
    static constexpr bool is_never_refused = requires { Description::never_refused; };

    void submit(std::uint16_t poll_first = 0) noexcept {
        submission& entry = loop_->prepare(*this);
        description_.prepare(entry);
        entry.ioprio |= poll_first;
        note(entry.user_data);
    }

    void note(operation_id id) noexcept {
        if constexpr (requires { description_.in_flight(); }) {
            *description_.in_flight() = id;
        }
    }

    static pending* request(pending& self, stop_level level) noexcept {
        if (level == stop_level::cancel && !is_never_refused) {
            auto& canceled = static_cast<operation_awaiter&>(self);
            canceled.loop_->cancel(canceled);
        }
        return nullptr;
    }

    static void complete(operation& base) noexcept {
        auto& self = static_cast<operation_awaiter&>(base);
        if constexpr (requires { self.description_.again(std::int32_t{}); }) {
            if (self.description_.again(self.result_)) [[unlikely]] {
                if (!self.cancel_wanted_) {
                    self.loop_->submit_again(self);
                    return;
                }
                self.result_ = -ECANCELED;
            }
        }
        self.note(0);
        self.told_->notify();
    }

    static void resubmit(operation& base) noexcept {
        auto& self = static_cast<operation_awaiter&>(base);
        if (self.cancel_wanted_) {
            self.result_ = -ECANCELED;
            self.state_ = operation_state::done;
            self.note(0);
            self.told_->notify();
            return;
        }
        // EAGAIN although the call may wait: a worker thread gave up on it. Trying again at once
        // would find nothing either, so let the kernel wait first.
        const bool polls = Description::can_poll_first && self.result_ == -EAGAIN &&
                           self.loop_->uses(feature::poll_first);
        self.submit(polls ? uapi::recvsend_poll_first : std::uint16_t{0});
    }

    static constexpr operation_kind kind_of = {
        {&request, Description::name},
        Description::opcode,
        &complete,
        &resubmit,
    };

    Description& description_;
};

} // namespace gyre::inline v0::detail
