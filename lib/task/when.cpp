#include <gyre/task/when.hpp>

#include <gyre/scheduler/waiter.hpp>

#include <cstddef>
#include <exception>

namespace gyre::inline v0::detail {

bool when_group::start_all(
    when_branch* const* branches, std::size_t count, const task_context& context, waiter& told
) noexcept {
    told_ = &told;
    branches_ = branches;
    count_ = count;
    running_ = count + 1; // One for this loop: nobody is told before it has ended.
    for (std::size_t index = 0; index < count; ++index) {
        when_branch& branch = *branches[index];
        // Where a branch that ended at once has canceled the others, these are refused.
        branch.stop.raise(context.stop->level);
        branch.running = true;
        if (branch.begin(context)) {
            ended(branch);
        }
    }
    return --running_ == 0;
}

void when_group::branch_done(waiter& base) noexcept {
    auto& branch = static_cast<when_branch&>(base);
    when_group& group = branch.group;
    group.ended(branch);
    if (group.running_ == 0) {
        group.told_->notify();
    }
}

void when_group::ended(when_branch& branch) noexcept {
    branch.running = false;
    if (first_ == nobody) {
        first_ = branch.index;
    }
    const bool failed = branch.keep();
    if (branch.exception && first_thrown_ == nobody) {
        first_thrown_ = branch.index;
    }
    // This branch counts as running until the others were asked: they may end while they are, and
    // the last one alone tells.
    if (failed || first_ends_all_) {
        pass_on(stop_level::cancel);
    }
    --running_;
}

void when_group::pass_on(stop_level level) noexcept {
    for (std::size_t index = 0; index < count_; ++index) {
        when_branch& branch = *branches_[index];
        if (branch.stop.raise(level) && branch.running) {
            pending::request(&branch.inner(), level);
        }
    }
}

pending* when_group::request_all(pending& self, stop_level level) noexcept {
    static_cast<when_group&>(self).pass_on(level);
    return nullptr;
}

void when_group::rethrow_first() {
    if (first_thrown_ != nobody) {
        std::rethrow_exception(branches_[first_thrown_]->exception);
    }
}

} // namespace gyre::inline v0::detail
