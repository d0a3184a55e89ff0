#include "ring/software.hpp"

#include "ring/limits.hpp"
#include "ring/perform.hpp"

#include <gyre/error.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

// The limits of the kernel's ring.
constexpr unsigned submissions_max = 32768;
constexpr unsigned completions_max = 65536;

constexpr std::int64_t first_retry = 1'000'000;
constexpr std::int64_t last_retry = 64'000'000;

bool names(const submission& entry, int fd) noexcept {
    const bool from = entry.opcode == uapi::op_splice || entry.opcode == uapi::op_tee;
    if (from && entry.file_index == static_cast<std::uint32_t>(fd)) {
        return true;
    }
    return entry.fd == fd && entry.opcode != uapi::op_socket && entry.opcode != uapi::op_close &&
           entry.opcode != uapi::op_async_cancel;
}

} // namespace

// The table.

std::uint32_t performance_table::add(const submission& taken) {
    if (free_ == none) {
        const auto size = static_cast<std::uint32_t>(items_.size());
        const std::uint32_t grown = size == 0 ? 64 : size * 2;
        items_.resize(grown);
        chains_.assign(grown, none);
        for (std::uint32_t index = 0; index < size; ++index) { // All are used.
            std::uint32_t& chain = chain_of(items_[index].entry.user_data);
            items_[index].next_of_hash = std::exchange(chain, index);
        }
        for (std::uint32_t index = grown; index-- > size;) {
            items_[index].next = std::exchange(free_, index);
            items_[index].previous = free_mark;
        }
    }
    const std::uint32_t index = free_;
    free_ = items_[index].next;
    items_[index] = item{{taken}};
    items_[index].next_of_hash = std::exchange(chain_of(taken.user_data), index);
    ++used_;
    return index;
}

void performance_table::remove(std::uint32_t index) noexcept {
    std::uint32_t* link = &chain_of(items_[index].entry.user_data);
    while (*link != index) {
        link = &items_[*link].next_of_hash;
    }
    *link = items_[index].next_of_hash;
    items_[index].previous = free_mark;
    items_[index].next = std::exchange(free_, index);
    --used_;
}

std::uint32_t performance_table::find(std::uint64_t user_data) const noexcept {
    if (chains_.empty()) {
        return none;
    }
    std::uint32_t index = chains_[user_data & (chains_.size() - 1)];
    while (index != none && items_[index].entry.user_data != user_data) {
        index = items_[index].next_of_hash;
    }
    return index;
}

void performance_table::append(list& to, std::uint32_t index) noexcept {
    item& added = items_[index];
    added.previous = to.last;
    added.next = none;
    (to.last == none ? to.first : items_[to.last].next) = index;
    to.last = index;
}

void performance_table::unlink(list& from, std::uint32_t index) noexcept {
    const item& gone = items_[index];
    (gone.previous == none ? from.first : items_[gone.previous].next) = gone.next;
    (gone.next == none ? from.last : items_[gone.next].previous) = gone.previous;
}

// The engine.

software_engine::software_engine(
    engine_kind kind, const engine_options& options, std::string reason
) {
    if (options.submission_entries == 0 ||
        options.completion_entries < options.submission_entries) {
        throw_error(
            errno_code(EINVAL),
            engine_name(kind),
            "a completion queue has at least as many entries as the submission queue"
        );
    }
    const auto submission_size =
        std::bit_ceil(std::min(options.submission_entries, submissions_max));
    // Two at least: a cancel completes together with its target.
    const auto completion_size =
        std::bit_ceil(std::clamp(options.completion_entries, 2U, completions_max));
    submission_array_ = std::make_unique<submission[]>(submission_size);
    completion_array_ = std::make_unique<completion[]>(completion_size);
    submissions = submission_queue(
        submission_array_.get(), submission_size, &submission_head_, &submission_tail_
    );
    completions = completion_queue(
        completion_array_.get(), completion_size, &completion_head_, &completion_tail_
    );
    report_.engine = kind;
    report_.reason = std::move(reason);
    report_.submission_entries = submission_size;
    report_.completion_entries = completion_size;
    report_.disabled = options.disable;
    report_.opcodes = performed_opcodes();

    event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd_ < 0) {
        const int error = errno;
        throw_error(errno_code(error), "eventfd", limit_help(error));
    }
}

software_engine::~software_engine() {
    for (const unblocked& each : unblocked_) {
        block_again(each);
    }
    for (const int fd : {event_fd_, retry_fd_}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

engine_time software_engine::now() const noexcept {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

int software_engine::take() noexcept {
    submissions.publish();
    int count = 0;
    bool looked = false;
    while (submissions.queued() != 0) {
        const bool cancels = submissions.at(0).opcode == uapi::op_async_cancel;
        if (cancels) {
            // What can be had by now is delivered before anything is canceled.
            run();
            if (!std::exchange(looked, true)) {
                look();
            }
        }
        table_.append(runnable_, table_.add(submissions.at(0)));
        submissions.consume();
        ++count;
        if (cancels) {
            run(); // At once: it must not find what is queued behind it.
            if (!runnable_.empty()) {
                break; // No room: the rest stays where it is.
            }
        }
    }
    return count;
}

void software_engine::run() noexcept {
    if (wake_untold_ && room() != 0) {
        wake_untold_ = false;
        complete(wake_user_data, 0);
    }
    while (!runnable_.empty() && room() != 0) {
        const std::uint32_t index = runnable_.first;
        if (table_[index].entry.opcode == uapi::op_async_cancel) {
            if (!cancel(index)) {
                return; // No room.
            }
        } else {
            attempt(index);
        }
    }
}

void software_engine::attempt(std::uint32_t index) noexcept {
    table::item& which = table_[index];
    if (which.closed) {
        finish(index, which.moved != 0 ? static_cast<std::int32_t>(which.moved) : -ECANCELED);
        return;
    }
    if (!which.woken && !may_be_ready(which)) {
        table_.unlink(runnable_, index);
        which.where = table::place::waiting;
        table_.append(waiting_for(which.fd), index);
        return;
    }
    if (which.entry.opcode == uapi::op_close) {
        forget(which.entry.fd);
    }
    which.borrowed = is_doubted(which.entry.fd);
    outcome told = perform(which);
    if (which.entry.opcode == uapi::op_shutdown) {
        look_again(which.entry.fd); // A send that waits for room in vain is not told.
    }
    if (which.unblocked && which.entry.opcode == uapi::op_accept) {
        which.unblocked = false;
        unblocked_.push_back({which.entry.fd, closes_of(which.entry.fd)});
    }
    if (told.waits && which.woken && told.events != 0) {
        // It was said to be ready. If it is, and yet there is nothing to be had, readiness says
        // nothing about this call: a message to a Unix domain socket whose queue is full.
        pollfd look = {told.fd, static_cast<short>(told.events), 0};
        if (::poll(&look, 1, 0) > 0) {
            told = perform(which);
            if (told.waits) {
                told.events = 0;
            }
        }
    }
    which.woken = false;
    if (told.waits) {
        wait(index, told);
    } else {
        tried(which, told.result);
        finish(index, told.result);
    }
}

void software_engine::wait(std::uint32_t index, const outcome& told) noexcept {
    table::item& which = table_[index];
    which.fd = told.fd;
    which.events = told.events;
    const int error = told.events == 0 ? rest(which) : watch(which);
    if (error == -EPERM) {
        const outcome last = perform_blocking(which);
        finish(index, last.waits ? -EAGAIN : last.result);
        return;
    }
    if (error < 0) {
        finish(index, error);
        return;
    }
    table_.unlink(runnable_, index);
    which.where = told.events == 0 ? table::place::resting : table::place::waiting;
    table_.append(list_of(which), index);
}

void software_engine::make_runnable(std::uint32_t index) noexcept {
    table::item& which = table_[index];
    table_.unlink(list_of(which), index);
    which.where = table::place::runnable;
    which.woken = true;
    table_.append(runnable_, index);
}

bool software_engine::run_blocking(std::uint32_t index, int& answer) noexcept {
    table::item& which = table_[index];
    const outcome told = perform_blocking(which);
    if (told.waits) {
        if (which.where != table::place::runnable) {
            make_runnable(index);
        }
        which.woken = false;
        wait(index, told);
        return false;
    }
    if (told.result == -EINTR) {
        answer = -EINTR;
    } else {
        finish(index, told.result);
    }
    return true;
}

performance_table::list& software_engine::list_of(const table::item& which) noexcept {
    switch (which.where) {
    case table::place::runnable:
        return runnable_;
    case table::place::resting:
        return resting_;
    case table::place::waiting:
        break;
    }
    return waiting_for(which.fd);
}

// Leaves the list that the entry is in.
void software_engine::finish(std::uint32_t index, std::int32_t result) noexcept {
    table::item& ended = table_[index];
    if (ended.unblocked) {
        set_nonblocking(ended.entry.fd, false);
    }
    complete(ended.entry.user_data, result);
    table_.unlink(list_of(ended), index);
    table_.remove(index);
    if (retry_fd_ >= 0 && resting_.empty()) [[unlikely]] {
        ::close(std::exchange(retry_fd_, -1));
    }
}

void software_engine::complete(std::uint64_t user_data, std::int32_t result) noexcept {
    completion_array_[completion_tail_ & (completions.size() - 1)] = {user_data, result, 0};
    std::atomic_ref<std::uint32_t>(completion_tail_)
        .store(completion_tail_ + 1, std::memory_order_release);
}

// Cancels.

bool software_engine::is_target(const submission& cancel, const submission& candidate)
    const noexcept {
    const std::uint32_t flags = cancel.operation_flags;
    if (candidate.opcode == uapi::op_async_cancel) {
        return false;
    }
    if ((flags & uapi::cancel_any) != 0) {
        return true;
    }
    if ((flags & uapi::cancel_fd) != 0 && candidate.fd != cancel.fd) {
        return false;
    }
    if ((flags & uapi::cancel_op) != 0 && candidate.opcode != cancel.length) {
        return false;
    }
    const bool by_user_data =
        (flags & uapi::cancel_user_data) != 0 || (flags & (uapi::cancel_fd | uapi::cancel_op)) == 0;
    return !by_user_data || candidate.user_data == cancel.address;
}

// Ends what the cancel names and then the cancel itself. False if there is no room for all that; it
// goes on the next time.
bool software_engine::cancel(std::uint32_t index) noexcept {
    // A copy: nothing is added meanwhile, but what `finish` touches is easier to see.
    const submission wish = table_[index].entry;
    const std::uint32_t flags = wish.operation_flags;
    constexpr std::uint32_t known = uapi::cancel_all | uapi::cancel_fd | uapi::cancel_any |
                                    uapi::cancel_user_data | uapi::cancel_op;
    const bool several = (flags & (uapi::cancel_all | uapi::cancel_any)) != 0;
    if (wish.flags != 0 || (flags & ~known) != 0 ||
        ((flags & uapi::cancel_any) != 0 && (flags & (uapi::cancel_fd | uapi::cancel_op)) != 0)) {
        finish(index, -EINVAL);
        return true;
    }
    std::uint32_t& found = table_[index].moved;
    const auto end = [&](std::uint32_t target) {
        const std::uint32_t moved = table_[target].moved;
        finish(target, moved != 0 ? static_cast<std::int32_t>(moved) : -ECANCELED);
        ++found;
    };
    if (flags == 0) {
        if (room() < 2) {
            return false;
        }
        const std::uint32_t target = table_.find(wish.address);
        if (target != table::none && target != index &&
            table_[target].entry.opcode != uapi::op_async_cancel) {
            end(target);
        }
    } else {
        for (std::uint32_t target = 0; target < table_.size(); ++target) {
            if (table_.is_free(target) || !is_target(wish, table_[target].entry)) {
                continue;
            }
            if (room() < 2) {
                return false;
            }
            end(target);
            if (!several) {
                break;
            }
        }
    }
    const auto count = static_cast<std::int32_t>(found);
    finish(index, several ? count : count != 0 ? 0 : -ENOENT);
    return true;
}

void software_engine::forget(int fd) noexcept {
    std::erase_if(unblocked_, [&](const unblocked& each) {
        if (each.fd == fd) {
            block_again(each);
        }
        return each.fd == fd;
    });
    // Nobody may try its number any more: it may soon name something else.
    wake_all(fd, true);
    unwatch(fd);
    trust(fd);
}

void software_engine::doubt(int fd) noexcept {
    if (fd < 0) {
        return;
    }
    const auto index = static_cast<std::size_t>(fd);
    if (index >= doubted_.size()) {
        doubted_.resize(std::max(index + 1, doubted_.size() * 2));
    }
    doubted_[index] = true;
}

void software_engine::look_again(int fd) noexcept {
    wake_all(fd, false);
}

void software_engine::keep_mode(int fd) noexcept {
    std::erase_if(unblocked_, [&](const unblocked& each) { return each.fd == fd; });
    if (table_.used() == 0) {
        return;
    }
    for (const table::list* from : {&waiting_for(fd), &resting_, &runnable_}) {
        for (std::uint32_t index = from->first; index != table::none; index = table_[index].next) {
            if (table_[index].entry.fd == fd) {
                table_[index].unblocked = false;
            }
        }
    }
}

// Makes runnable what works on `fd` or waits for it.
void software_engine::wake_all(int fd, bool closed) noexcept {
    if (table_.used() == 0) {
        return;
    }
    for (table::list* from : {&waiting_for(fd), &resting_, &runnable_}) {
        for (std::uint32_t index = from->first; index != table::none;) {
            const std::uint32_t next = table_[index].next;
            table::item& which = table_[index];
            if (names(which.entry, fd) || which.fd == fd) {
                if (closed) {
                    which.closed = true;
                    if (std::exchange(which.unblocked, false)) {
                        set_nonblocking(which.entry.fd, false); // While it has the number.
                    }
                }
                if (from != &runnable_) {
                    make_runnable(index);
                }
            }
            index = next;
        }
    }
}

// Unless its number has been closed since, and names something else.
void software_engine::block_again(const unblocked& which) const noexcept {
    if (which.closes == closes_of(which.fd)) {
        set_nonblocking(which.fd, false);
    }
}

// Retries by time.

int software_engine::rest(table::item& which) noexcept {
    if (retry_fd_ < 0) {
        retry_fd_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (retry_fd_ < 0) {
            return -errno;
        }
        if (const int error = watch_retries(); error < 0) {
            ::close(std::exchange(retry_fd_, -1));
            return error;
        }
    }
    if (!std::exchange(which.rested, true)) {
        retry_interval_ = 0;
    }
    if (!resting_.empty()) {
        return 0; // The timer runs.
    }
    retry_interval_ = std::clamp(retry_interval_ * 2, first_retry, last_retry);
    itimerspec when = {};
    when.it_value.tv_nsec = retry_interval_;
    return ::timerfd_settime(retry_fd_, 0, &when, nullptr) == 0 ? 0 : -errno;
}

void software_engine::take_retry() noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t taken = ::read(retry_fd_, &count, sizeof count);
    while (!resting_.empty()) {
        make_runnable(resting_.first);
    }
}

// Wake-ups.

void software_engine::wake() noexcept {
    if (!signalled_.exchange(true)) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
    }
}

void software_engine::take_wake() noexcept {
    // Read first: a wake() after the flag is down writes again.
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t taken = ::read(event_fd_, &count, sizeof count);
    signalled_.store(false);
    if (room() != 0) {
        complete(wake_user_data, 0);
    } else {
        wake_untold_ = true;
    }
}

} // namespace gyre::inline v0::detail
