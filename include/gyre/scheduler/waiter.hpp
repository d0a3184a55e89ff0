#pragma once

#include <bit>
#include <coroutine>
#include <cstdint>
#include <source_location>

namespace gyre::inline v0::detail {

class run_loop;

/// Who is told, once, that what it waits for has its outcome. A coroutine's frame is the usual
/// waiter and leaves itself with the scheduler; an adaptor such as `with_timeout` is another one
/// and needs no coroutine of its own.
///
/// `notify` runs no user code: it moves state and may make a frame ready.
class waiter {
public:
    using notify_function = void(waiter&) noexcept;

    void notify() noexcept { notify_(*this); }
    bool notifies_by(notify_function* function) const noexcept { return notify_ == function; }

protected:
    explicit waiter(notify_function* function) noexcept : notify_(function) {}
    ~waiter() = default;

private:
    notify_function* notify_;
};

/// How far a stop has gone.
enum class stop_level : std::uint8_t {
    none,
    stop,   ///< Asked to end: waits marked `idle` end, the rest goes on.
    cancel, ///< Made to end: operations in flight are canceled, later ones refused.
};

/// What applies to everything below one point of the task tree: a scope, a branch of `when_any`, a
/// limit. Children that open no point of their own share their parent's.
struct stop_state {
    stop_level level = stop_level::none;

    bool canceled() const noexcept { return level == stop_level::cancel; }
    /// True if this raised the level.
    bool raise(stop_level to) noexcept {
        if (level >= to) {
            return false;
        }
        level = to;
        return true;
    }
};

/// For what is to be refused although its scope is not canceled.
inline constinit stop_state always_canceled{stop_level::cancel};

class pending;

/// What a kind of awaited thing can do, shared by all of that kind.
struct pending_kind {
    /// Passes a stop on. Returns what is to be asked next, or nullptr: so that a long chain of
    /// tasks costs no stack.
    pending* (*request)(pending&, stop_level) noexcept;
    /// What it is called in dumps: "recv", "task", "when_any".
    const char* name;
};

/// Something that a task awaits, as it is seen from above: it can be asked to end.
class pending {
public:
    static void request(pending* first, stop_level level) noexcept {
        while (first != nullptr) {
            first = first->kind_->request(*first, level);
        }
    }
    const char* name() const noexcept { return kind_->name; }

    pending(const pending&) = delete;
    pending& operator=(const pending&) = delete;

protected:
    explicit pending(const pending_kind& kind) noexcept : kind_(&kind) {}
    ~pending() = default;

    const pending_kind* kind_;
};

class frame;

/// What the awaiting side hands to the awaited one.
struct task_context {
    run_loop* owner = nullptr;
    stop_state* stop = nullptr;
    frame* parent = nullptr;
};

/// The side that owns a started task: the handle of its frame, and who is told of its end. The
/// task's outcome is stored in a derived object, in the caller's frame.
struct task_owner {
    std::coroutine_handle<> handle;
    waiter* notified = nullptr;
};

/// A `std::source_location` as the one pointer that it is: the class itself, as an argument, costs
/// each await three more stores into the frame.
class source_place {
public:
    source_place() noexcept = default;
    source_place(const void* place) noexcept : place_(place) {}

    std::source_location location() const noexcept {
        return place_ != nullptr ? std::bit_cast<std::source_location>(place_)
                                 : std::source_location();
    }

private:
    static_assert(sizeof(std::source_location) == sizeof(void*));
    const void* place_ = nullptr;
};

/// What the scheduler knows of a coroutine: the base of every promise.
///
/// A frame is in one of these states: running; ready (in the scheduler's queue); or waiting, with
/// `awaiting` naming for what. Only the scheduler resumes and destroys started frames.
class frame : public waiter {
public:
    frame() noexcept : waiter(&frame::become_ready) {}
    ~frame() {
        if (ready()) [[unlikely]] {
            leave_ready_queue();
        }
    }
    frame(const frame&) = delete;
    frame& operator=(const frame&) = delete;

    static void become_ready(waiter& self) noexcept;
    bool ready() const noexcept { return next_ready != nullptr; }

    task_context context;
    std::coroutine_handle<> handle;
    task_owner* owner = nullptr;
    pending* awaiting = nullptr;
    frame* next_ready = nullptr; // In the queue: the next one, the last one itself.
    source_place site;           // Of the current or last await.
    std::uint32_t refusals = 0;
    bool abandoned = false; // Its outcome is stored; it is to be destroyed instead of resumed.

private:
    void leave_ready_queue() noexcept;
};

} // namespace gyre::inline v0::detail
