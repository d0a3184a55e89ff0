#include <gyre/scheduler/scheduler.hpp>

#include "scheduler/mailbox.hpp"

#include <gyre/detail/assert.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/scheduler/counters.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <time.h>

#include <chrono>
#include <cstddef>
#include <memory>

namespace gyre::inline v0 {

clock::time_point clock::now() noexcept {
    if (const detail::run_loop* loop = detail::run_loop::current()) {
        return time_point(duration(loop->now()));
    }
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return time_point(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

scheduler_handle::scheduler_handle(detail::mailbox& box) noexcept : mailbox_(&box) {
    mailbox_->add_reference();
}

scheduler_handle::scheduler_handle(const scheduler_handle& other) noexcept
    : mailbox_(other.mailbox_) {
    if (mailbox_ != nullptr) {
        mailbox_->add_reference();
    }
}

scheduler_handle::~scheduler_handle() {
    if (mailbox_ != nullptr) {
        mailbox_->drop_reference();
    }
}

bool scheduler_handle::deliver(detail::posted& node) const noexcept {
    return mailbox_->post(node);
}

scheduler::scheduler(const scheduler_options& options) : teardown_limit_(options.teardown_limit) {
    detail::engine_options chosen;
    chosen.kind = options.engine;
    chosen.submission_entries = options.submission_entries;
    chosen.completion_entries = options.completion_entries;
    chosen.disable = options.disable;
    chosen.log_fallback = options.log_fallback;
    loop_ = std::make_unique<detail::run_loop>(detail::make_engine(chosen));
    loop_->face = this;
}

scheduler::~scheduler() {
    if (!loop_->shut_down(detail::nanoseconds_of(teardown_limit_))) {
        // Frames and payloads may still be in the kernel's hands: they stay, and so does all that
        // refers to them.
        loop_.release()->leave_behind();
    }
}

scheduler& scheduler::current() noexcept {
    detail::run_loop* loop = detail::run_loop::current();
    GYRE_ASSERT_ALWAYS(loop != nullptr, "no scheduler is running on this thread");
    return *loop->face;
}

clock::time_point scheduler::turn() {
    loop_->step(false);
    const detail::engine_time next = loop_->rest();
    return next == detail::never ? clock::time_point::max()
                                 : clock::time_point(std::chrono::nanoseconds(next));
}

int scheduler::pollable_descriptor() const {
    return loop_->carrier().pollable_descriptor();
}

const engine_report& scheduler::report() const noexcept {
    return loop_->carrier().report();
}

scheduler_counters scheduler::counters() const noexcept {
    return loop_->counters();
}

scheduler_handle scheduler::handle() const noexcept {
    return scheduler_handle(loop_->box());
}

std::size_t scheduler::operations_in_flight() const noexcept {
    return loop_->operations_in_flight();
}

} // namespace gyre::inline v0
