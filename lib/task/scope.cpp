#include <gyre/task/scope.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/detail/outcome.hpp>
#include <gyre/error.hpp>
#include <gyre/log.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::inline v0 {

std::string detail::message_of(const std::exception_ptr& exception) noexcept {
    try {
        std::rethrow_exception(exception);
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

namespace {

constinit std::atomic<unhandled_hook> current_hook{nullptr};

} // namespace

unhandled_hook set_unhandled_hook(unhandled_hook hook) noexcept {
    return current_hook.exchange(hook);
}

namespace detail {

void scope_core::add(child& which) noexcept {
    which.owner = this;
    which.previous = last_;
    which.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &which;
    last_ = &which;
    ++count_;
}

void scope_core::unlink(child& which) noexcept {
    (which.previous != nullptr ? which.previous->next : first_) = which.next;
    (which.next != nullptr ? which.next->previous : last_) = which.previous;
    --count_;
}

void scope_core::child_ended() noexcept {
    while (listeners_ != nullptr) {
        end_listener& next = *listeners_;
        listeners_ = next.next;
        std::exchange(next.told, nullptr)
            ->notify(); // Told once: a cancel may come before it goes on.
    }
    if (first_ == nullptr && joining_ != nullptr) {
        waiter* told = joining_;
        joining_ = nullptr;
        told->notify();
    }
}

bool scope_core::stop_listening(end_listener& which) noexcept {
    end_listener** link = &listeners_;
    while (*link != nullptr && *link != &which) {
        link = &(*link)->next;
    }
    if (*link == nullptr) {
        return false;
    }
    *link = which.next;
    return true;
}

void scope_core::fail(std::exception_ptr thrown) noexcept {
    if (!exception && !error) {
        exception = std::move(thrown);
    }
    request(stop_level::cancel);
}

void scope_core::fail(std::error_code code) noexcept {
    if (!exception && !error) {
        error = code;
    }
    request(stop_level::cancel);
}

// Asking runs no user code and ends no child, so the list does not change under the walk.
void scope_core::request(stop_level level) noexcept {
    if (!stop_.raise(level)) {
        return;
    }
    for (child* next = first_; next != nullptr; next = next->next) {
        pending::request(&next->awaited_task(), level);
    }
    pending::request(body, level);
}

void scope_core::name_children() const noexcept {
    for (const child* next = first_; next != nullptr; next = next->next) {
        std::string line = "a task does not end although it is canceled";
        const frame* top = next->top_frame();
        const std::source_location where =
            top != nullptr ? top->site.location() : std::source_location();
        if (where.line() != 0) {
            line += std::string(": ") + where.function_name() + " at " + where.file_name() + ":" +
                    std::to_string(where.line());
        }
        if (top != nullptr && top->awaiting != nullptr) {
            line += std::string(", awaiting ") + top->awaiting->name();
        }
        log(log_level::error, line);
    }
}

namespace {

/// The scope above all others: nothing ends it but its scheduler, and no failure cancels it.
class root_scope final : public root, private failure_sink {
public:
    explicit root_scope(run_loop& loop) noexcept {
        core.open({&loop, nullptr, nullptr});
        core.sink = this;
    }
    void cancel() noexcept override { core.request(stop_level::cancel); }
    bool empty() const noexcept override { return core.empty(); }
    void name_stragglers() noexcept override { core.name_children(); }

    scope_core core;

private:
    void failed(std::exception_ptr thrown) noexcept override {
        if (const unhandled_hook hook = current_hook.load()) {
            hook(std::move(thrown));
            return;
        }
        log(log_level::error, "a spawned task let out an exception: " + message_of(thrown));
        std::terminate();
    }
    void failed(std::error_code code) noexcept override {
        if (!is_canceled(code)) {
            log(log_level::warning, "a spawned task failed: " + describe(code));
        }
    }
};

} // namespace

scope_core& root_of(run_loop& loop) {
    if (loop.tasks == nullptr) {
        loop.tasks = std::make_unique<root_scope>(loop);
    }
    return static_cast<root_scope&>(*loop.tasks).core;
}

scope_core& root_of_current() {
    run_loop* loop = run_loop::current();
    GYRE_ASSERT_ALWAYS(loop != nullptr, "spawn needs a scheduler that runs on this thread");
    return root_of(*loop);
}

} // namespace detail
} // namespace gyre::inline v0
