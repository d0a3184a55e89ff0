#pragma once

// An engine in memory that does what a test says: it holds submissions until the test completes
// them, answers `enter` with errors on request, and owns a clock that moves only while it waits.

#include <gyre/ring/engine.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <vector>

namespace test {

/// Without instructions it keeps every submission pending, and a cancel finds what is pending: the
/// target completes with ECANCELED. A test replaces `when_taken` to do otherwise, and calls
/// `complete` or `complete_at`.
///
/// A wait that nothing can end, and a loop that enters without end, stop the program with a line.
class scripted_engine final : public gyre::detail::engine {
public:
    using submission = gyre::detail::submission;
    using completion = gyre::detail::completion;
    using engine_time = gyre::detail::engine_time;

    explicit scripted_engine(
        unsigned submission_entries = 8,
        unsigned completion_entries = 64,
        gyre::feature_set features = gyre::feature_set::all()
    )
        : submission_array_(submission_entries), completion_array_(completion_entries) {
        submissions = gyre::detail::submission_queue(
            submission_array_.data(), submission_entries, &submission_head_, &submission_tail_
        );
        completions = gyre::detail::completion_queue(
            completion_array_.data(), completion_entries, &completion_head_, &completion_tail_
        );
        report_.engine = gyre::engine_kind::uring;
        report_.reason = "scripted by a test";
        report_.features = features;
        report_.submission_entries = submission_entries;
        report_.completion_entries = completion_entries;
    }

    // What a test sets.

    void set_sends(gyre::detail::send_abilities able) { sends_ = able; }

    /// Called with each entry that an `enter` takes.
    std::function<void(const submission&)> when_taken = [this](const submission& entry) {
        obey(entry);
    };
    /// The next calls of `enter` answer with these, one each, and do nothing else; but `obliging`
    /// lets a call do its work.
    std::deque<int> answers;
    static constexpr int obliging = 1 << 30;
    /// Called at the start of each `enter`, with the number of its call.
    std::function<void(unsigned)> when_entered = [](unsigned) {};
    /// The next calls of `enter` take at most that many entries each.
    std::deque<unsigned> takes_at_most;

    /// Posts a completion, which overflows into a backlog when the queue is full.
    void complete(std::uint64_t user_data, std::int32_t result, std::uint32_t flags = 0) {
        std::erase_if(pending, [&](const submission& entry) {
            return entry.user_data == user_data && (flags & gyre::detail::uapi::cqe_f_more) == 0;
        });
        backlog_.push_back({user_data, result, flags});
        move_backlog();
    }
    /// Posts it when the clock has come to `when`.
    void complete_at(engine_time when, std::uint64_t user_data, std::int32_t result) {
        events_.push_back({when, user_data, result});
    }
    void advance(engine_time duration) { now_ += duration; }

    /// The default of `when_taken`.
    void obey(const submission& entry) {
        if (entry.opcode != gyre::detail::uapi::op_async_cancel) {
            pending.push_back(entry);
            return;
        }
        cancels.push_back(now_);
        for (const submission& target : pending) {
            if (target.user_data == entry.address) {
                const std::uint64_t found = target.user_data;
                complete(found, -ECANCELED);
                complete(entry.user_data, 0);
                return;
            }
        }
        complete(entry.user_data, -ENOENT);
    }

    // What a test looks at.

    std::vector<submission> pending;  ///< Taken and not completed, oldest first.
    std::vector<engine_time> cancels; ///< When each cancel was taken.
    std::vector<submission> taken;    ///< Everything that was taken.
    unsigned enters = 0;
    unsigned wakes = 0;

    // The engine.

    int enter(unsigned wanted, engine_time deadline) noexcept override {
        if (++enters > 1'000'000) {
            stop("enters without end");
        }
        when_entered(enters);
        submissions.publish();
        submissions.refresh();
        move_backlog();
        if (!answers.empty()) {
            const int answer = answers.front();
            answers.pop_front();
            if (answer != obliging) {
                return answer;
            }
        }
        unsigned share = ~0U;
        if (!takes_at_most.empty()) {
            share = takes_at_most.front();
            takes_at_most.pop_front();
        }
        int count = 0;
        while (submissions.queued() != 0 && share != 0) {
            const submission entry = submissions.at(0);
            submissions.consume();
            --share;
            ++count;
            taken.push_back(entry);
            when_taken(entry);
        }
        due();
        if (submissions.queued() != 0 || wanted == 0 || completions.waiting() != 0) {
            return count;
        }
        engine_time next = deadline;
        for (const event& planned : events_) {
            next = planned.when < next ? planned.when : next;
        }
        if (next == gyre::detail::never) {
            stop("waits for something that never comes");
        }
        now_ = next > now_ ? next : now_;
        due();
        return count == 0 && completions.waiting() == 0 ? -ETIME : count;
    }
    bool overflown() const noexcept override { return !backlog_.empty(); }
    engine_time now() const noexcept override { return now_; }
    void wake() noexcept override { ++wakes; }
    void woken() noexcept override {}
    int pollable_descriptor() override { return -1; }
    gyre::detail::domain& resources() const noexcept override {
        return gyre::detail::kernel_domain();
    }

private:
    struct event {
        engine_time when;
        std::uint64_t user_data;
        std::int32_t result;
    };

    void due() {
        for (std::size_t index = 0; index < events_.size();) {
            if (events_[index].when > now_) {
                ++index;
                continue;
            }
            const event happened = events_[index];
            events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(index));
            complete(happened.user_data, happened.result);
        }
    }
    void move_backlog() noexcept {
        while (!backlog_.empty() && completions.waiting() < completions.size()) {
            completion_array_[completion_tail_ & (completions.size() - 1)] = backlog_.front();
            ++completion_tail_;
            backlog_.pop_front();
        }
    }
    [[noreturn]] static void stop(const char* what) noexcept {
        std::fprintf(stderr, "scripted_engine: the loop %s\n", what);
        std::_Exit(1);
    }

    std::vector<submission> submission_array_;
    std::vector<completion> completion_array_;
    std::uint32_t submission_head_ = 0;
    std::uint32_t submission_tail_ = 0;
    std::uint32_t completion_head_ = 0;
    std::uint32_t completion_tail_ = 0;
    std::deque<completion> backlog_;
    std::vector<event> events_;
    engine_time now_ = 1'000'000'000;
};

} // namespace test
