#pragma once

// An engine in memory that answers at random, as badly as a kernel may, and keeps the books: what
// it was given, what it answered, and whether the driver above it breaks the rules.

#include "support/fuzz.hpp"

#include <gyre/ring/engine.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace test {

/// Receives and sends complete at random times, in any order, with any result; what a receive
/// writes is `mark_of` its descriptor. A descriptor is nothing but a name here: a test gives each
/// operation one of its own and asks `outcome` what it was answered.
///
/// The clock is virtual: it moves while the engine waits, and a little with each call.
class hostile_engine final : public gyre::detail::engine {
public:
    using submission = gyre::detail::submission;
    using completion = gyre::detail::completion;
    using engine_time = gyre::detail::engine_time;

    hostile_engine(trial& round, unsigned submission_entries, unsigned completion_entries)
        : round_(round), submission_array_(submission_entries),
          completion_array_(completion_entries), moodiness_(2 + round.below(30)),
          shortness_(2 + round.below(20)), latency_bits_(static_cast<unsigned>(round.below(26))) {
        submissions = gyre::detail::submission_queue(
            submission_array_.data(), submission_entries, &submission_head_, &submission_tail_
        );
        completions = gyre::detail::completion_queue(
            completion_array_.data(), completion_entries, &completion_head_, &completion_tail_
        );
        report_.engine = gyre::engine_kind::uring;
        report_.reason = "made by a test";
        report_.features = gyre::feature_set::all();
        report_.submission_entries = submission_entries;
        report_.completion_entries = completion_entries;
    }

    /// An operation on a descriptor with this bit may never end by itself, but for a cancel.
    static constexpr int silent = 1 << 28;

    static std::byte mark_of(int fd) noexcept {
        return static_cast<std::byte>(static_cast<unsigned>(fd) * 31 + 7);
    }

    /// What the last submission for `fd` was answered; nullptr if there was none, or no answer.
    const std::int32_t* outcome(int fd) const noexcept {
        const auto found = outcomes_.find(fd);
        return found != outcomes_.end() ? &found->second : nullptr;
    }
    std::size_t pending() const noexcept { return pending_.size(); }

    // The engine.

    int enter(unsigned wanted, engine_time deadline) noexcept override {
        if (++enters_ > enters_max) {
            stop_fuzzing("the loop enters without end");
        }
        now_ += round_.any_size(14);
        submissions.publish();
        submissions.refresh();
        move_backlog();
        if (round_.one_in(moodiness_)) {
            due();
            const int moods[] = {-EINTR, -EAGAIN, -EBUSY};
            return moods[round_.below(3)];
        }
        std::uint64_t share = ~std::uint64_t{0};
        if (round_.one_in(shortness_)) {
            share = round_.below(3);
        }
        int count = 0;
        while (submissions.queued() != 0 && share != 0) {
            const submission entry = submissions.at(0);
            submissions.consume();
            --share;
            ++count;
            take(entry);
        }
        due();
        if (submissions.queued() != 0 || wanted == 0 || completions.waiting() != 0) {
            return count;
        }
        engine_time next = deadline;
        for (const auto& [name, each] : pending_) {
            next = std::min(next, each.due);
        }
        if (next == gyre::detail::never) {
            stop_fuzzing("the loop waits for something that never comes");
        }
        if (round_.one_in(moodiness_)) { // A signal, or a wake that nobody remembers.
            now_ += next > now_ ? round_.between(0, next - now_) : 0;
            return count != 0 ? count : -EINTR;
        }
        now_ = std::max(now_, next) + round_.any_size(17);
        due();
        return count == 0 && completions.waiting() == 0 && now_ >= deadline ? -ETIME : count;
    }
    bool overflown() const noexcept override { return !backlog_.empty(); }
    engine_time now() const noexcept override { return now_; }
    void wake() noexcept override {}
    void woken() noexcept override {}
    int pollable_descriptor() override { return -1; }
    gyre::detail::domain& resources() const noexcept override {
        return gyre::detail::kernel_domain();
    }

private:
    static constexpr std::uint64_t enters_max = 3'000'000;

    struct operation {
        submission entry;
        engine_time due;
        bool found = false;    // A cancel has said so.
        bool canceled = false; // It ends as canceled.
    };

    void take(const submission& entry) noexcept {
        namespace uapi = gyre::detail::uapi;
        switch (entry.opcode) {
        case uapi::op_nop:
            backlog_.push_back({entry.user_data, 0, 0});
            break;
        case uapi::op_async_cancel:
            cancel(entry);
            break;
        case uapi::op_recv:
        case uapi::op_send: {
            round_.expect(
                seen_.emplace(entry.user_data, entry.fd).second, "an operation's name is used twice"
            );
            const bool soon = round_.one_in(3);
            const bool hangs = (entry.fd & silent) != 0 && round_.one_in(2);
            const engine_time later = now_ + (soon ? 0 : round_.any_size(latency_bits_ + 8));
            pending_.emplace(
                entry.user_data, operation{entry, hangs ? gyre::detail::never : later}
            );
            break;
        }
        default:
            round_.fail("an entry with opcode " + std::to_string(entry.opcode));
        }
        move_backlog();
    }

    // Every answer that io_uring gives, together with every end of the target that goes with it.
    void cancel(const submission& entry) noexcept {
        const std::uint64_t target = entry.address;
        round_.expect(seen_.contains(target), "a cancel overtakes its target");
        const auto found = pending_.find(target);
        if (found == pending_.end()) {
            answer(entry, -ENOENT);
            return;
        }
        operation& named = found->second;
        round_.expect(!named.found, "a cancel is repeated although the first has found it");
        switch (round_.below(7)) {
        case 0: // It ends as canceled, before its cancel says so.
            named.canceled = true;
            end(target);
            answer(entry, 0);
            break;
        case 1:
        case 2: // The same after it, perhaps later.
            named.found = true;
            named.canceled = true;
            named.due = now_ + round_.any_size(20);
            answer(entry, 0);
            break;
        case 3: // A worker runs it: it may end either way, soon.
            named.canceled = named.canceled || round_.one_in(2);
            named.due = now_ + round_.any_size(20);
            answer(entry, -EALREADY);
            break;
        case 4: // It ends by itself as the cancel arrives.
            end(target);
            answer(entry, -ENOENT);
            break;
        case 5:
            answer(entry, -ENOENT);
            end(target);
            break;
        default: // Missed.
            answer(entry, -ENOENT);
        }
    }

    void answer(const submission& cancel, std::int32_t result) noexcept {
        backlog_.push_back({cancel.user_data, result, 0});
        move_backlog();
    }

    void due() noexcept {
        std::vector<std::uint64_t> ripe;
        for (const auto& [name, each] : pending_) {
            if (each.due <= now_) {
                ripe.push_back(name);
            }
        }
        while (!ripe.empty()) {
            std::swap(ripe[round_.below(ripe.size())], ripe.back());
            end(ripe.back());
            ripe.pop_back();
        }
    }

    void end(std::uint64_t name) noexcept {
        const auto found = pending_.find(name);
        const operation ended = found->second;
        pending_.erase(found);
        const std::int32_t result = result_of(ended);
        touch(ended.entry, result);
        outcomes_[ended.entry.fd] = result;
        backlog_.push_back({name, result, 0});
        move_backlog();
    }

    std::int32_t result_of(const operation& ended) noexcept {
        if (ended.canceled) {
            const std::int32_t codes[] = {-ECANCELED, -ECANCELED, -EINTR, -512};
            return codes[round_.below(4)];
        }
        switch (round_.below(12)) {
        case 0:
            return 0;
        case 1:
            return -ECONNRESET;
        case 2:
            return -EAGAIN;
        case 3:
            return -EPIPE;
        default:
            return static_cast<std::int32_t>(round_.between(1, ended.entry.length));
        }
    }

    // The memory must be there up to now: a sanitizer sees whether it is.
    void touch(const submission& entry, std::int32_t result) noexcept {
        auto* memory = reinterpret_cast<std::byte*>(entry.address);
        if (entry.opcode == gyre::detail::uapi::op_recv) {
            std::fill_n(memory, result > 0 ? result : 0, mark_of(entry.fd));
        } else {
            read_ ^= memory[entry.length - 1];
        }
    }

    void move_backlog() noexcept {
        while (!backlog_.empty() && completions.waiting() < completions.size()) {
            completion_array_[completion_tail_ & (completions.size() - 1)] = backlog_.front();
            ++completion_tail_;
            backlog_.pop_front();
        }
    }

    trial& round_;
    std::vector<submission> submission_array_;
    std::vector<completion> completion_array_;
    std::uint32_t submission_head_ = 0;
    std::uint32_t submission_tail_ = 0;
    std::uint32_t completion_head_ = 0;
    std::uint32_t completion_tail_ = 0;
    std::deque<completion> backlog_;
    std::map<std::uint64_t, operation> pending_;     // By name.
    std::unordered_map<std::uint64_t, int> seen_;    // Every name that was ever taken.
    std::unordered_map<int, std::int32_t> outcomes_; // By descriptor.
    std::uint64_t moodiness_;
    std::uint64_t shortness_;
    unsigned latency_bits_;
    std::uint64_t enters_ = 0;
    std::byte read_{};
    engine_time now_ = 1'000'000'000;
};

} // namespace test
