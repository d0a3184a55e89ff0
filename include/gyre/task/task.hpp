#pragma once

#include <gyre/detail/assert.hpp>
#include <gyre/detail/frame_pool.hpp>
#include <gyre/result.hpp>
#include <gyre/task/awaitable.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

template <class T = void>
class task;

namespace detail {

/// Where a task's outcome goes: in the awaiting side, so that it outlives the task's frame.
template <class T>
class outcome_store : public task_owner {
public:
    outcome_store() noexcept {}
    ~outcome_store() {
        if (stored_) {
            std::destroy_at(std::addressof(value_));
        }
    }
    outcome_store(const outcome_store&) = delete;
    outcome_store& operator=(const outcome_store&) = delete;

    template <class... Args>
    void emplace(Args&&... args) {
        std::construct_at(std::addressof(value_), std::forward<Args>(args)...);
        stored_ = true;
    }
    T take_value() {
        if (exception) [[unlikely]] {
            std::rethrow_exception(std::move(exception));
        }
        GYRE_ASSERT_ALWAYS(stored_, "a task that yields a value must end with co_return");
        return std::move(value_);
    }
    /// The value, if there is one.
    T* value() noexcept { return stored_ ? std::addressof(value_) : nullptr; }

    std::exception_ptr exception;

private:
    union {
        T value_;
    };
    bool stored_ = false;
};

template <>
class outcome_store<void> : public task_owner {
public:
    void take_value() {
        if (exception) [[unlikely]] {
            std::rethrow_exception(std::move(exception));
        }
    }
    std::exception_ptr exception;
};

struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    // The loop destroys the frame, never the frame itself: some compilers still touch it
    // afterwards.
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
        frame& self = handle.promise();
        self.context.owner->finished(self);
    }
    void await_resume() const noexcept {}
};

template <class>
inline constexpr bool always_false = false;

/// What all promises of tasks share.
class promise_base : public frame {
public:
    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

    std::suspend_always initial_suspend() const noexcept { return {}; }
    final_awaiter final_suspend() const noexcept { return {}; }

    template <class Description>
    auto await_transform(
        Description&& description, const void* where = __builtin_source_location()
    ) noexcept {
        using bare = std::remove_cvref_t<Description>;
        static_assert(
            awaitable<bare>,
            "a gyre::task awaits gyre's own operations and tasks only: nothing else can be stopped "
            "or returns to this task's scheduler"
        );
        static_assert(
            !std::is_lvalue_reference_v<Description>,
            "an operation is awaited once: write co_await std::move(name)"
        );
        site = where;
        return awaited<typename bare::awaiter, bare>(description);
    }
};

template <class T>
class promise final : public promise_base {
public:
    using value_type = T;

    task<T> get_return_object() noexcept;

    template <class U = T>
        requires std::is_constructible_v<T, U>
    void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>) {
        store().emplace(std::forward<U>(value));
    }
    void unhandled_exception() noexcept { store().exception = std::current_exception(); }

    outcome_store<T>& store() noexcept { return static_cast<outcome_store<T>&>(*owner); }
};

template <>
class promise<void> final : public promise_base {
public:
    using value_type = void;

    task<void> get_return_object() noexcept;

    void return_void() const noexcept {}
    void unhandled_exception() noexcept { store().exception = std::current_exception(); }

    outcome_store<void>& store() noexcept { return static_cast<outcome_store<void>&>(*owner); }
};

template <class T>
inline constexpr bool is_gyre_task<promise<T>> = true;

template <class T>
class task_awaiter final : public pending, public outcome_store<T> {
public:
    using result_type = T;

    explicit task_awaiter(task<T>& from) noexcept;
    ~task_awaiter() {
        if (this->handle) {
            this->handle.destroy();
        }
    }

    bool start(const task_context& context, waiter& told) noexcept {
        this->notified = &told;
        child().context = context;
        child().owner = this;
        context.owner->run_next(child());
        return false;
    }
    T take() { return this->take_value(); }

    /// The frame of the task, nullptr once it is gone.
    const frame* started_frame() const noexcept { return this->handle ? &child() : nullptr; }

private:
    frame& child() const noexcept {
        return std::coroutine_handle<promise<T>>::from_address(this->handle.address()).promise();
    }
    static pending* request(pending& self, stop_level) noexcept {
        auto& awaiter = static_cast<task_awaiter&>(self);
        return awaiter.handle ? awaiter.child().awaiting : nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "task"};
};

} // namespace detail

/// A coroutine that yields a `T`. It is lazy: it starts when it is awaited, or spawned into a
/// scope, once; and it has one owner, which is whoever holds this object and then whoever awaits
/// it.
///
/// A task belongs to the scheduler on which it started and runs on that scheduler's thread only.
template <class T>
class [[nodiscard("co_await the task, or spawn it")]] task : public detail::awaitable_base {
public:
    using promise_type = detail::promise<T>;
    using awaiter = detail::task_awaiter<T>;
    using value_type = T;

    task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    task& operator=(task&& other) noexcept {
        if (this != &other) {
            destroy();
            handle_ = std::exchange(other.handle_, {});
        }
        return *this;
    }
    /// A task that was never started ends without having run.
    ~task() { destroy(); }

private:
    friend detail::promise<T>;
    friend detail::task_awaiter<T>;
    explicit task(std::coroutine_handle<> handle) noexcept : handle_(handle) {}
    void destroy() noexcept {
        if (handle_) {
            handle_.destroy();
        }
    }

    std::coroutine_handle<> handle_;
};

template <class T>
inline constexpr bool is_task_v = false;
template <class T>
inline constexpr bool is_task_v<task<T>> = true;

namespace detail {

template <class T>
task<T> promise<T>::get_return_object() noexcept {
    handle = std::coroutine_handle<promise>::from_promise(*this);
    return task<T>(handle);
}

inline task<void> promise<void>::get_return_object() noexcept {
    handle = std::coroutine_handle<promise>::from_promise(*this);
    return task<void>(handle);
}

template <class T>
task_awaiter<T>::task_awaiter(task<T>& from) noexcept : pending(kind_of) {
    GYRE_ASSERT_ALWAYS(from.handle_, "a task is awaited or spawned once");
    this->handle = std::exchange(from.handle_, {});
}

} // namespace detail
} // namespace gyre::inline v0
