#pragma once

#include <gyre/detail/callable.hpp>
#include <gyre/detail/frame_pool.hpp>
#include <gyre/detail/outcome.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

class scope;
class scheduler;

namespace detail {

class scope_core;
template <class Callable>
class with_scope_awaiter;

scope_core& core_of(scope& from) noexcept;

/// The scope that holds all tasks of a scheduler; made on first use.
scope_core& root_of(run_loop& loop);
/// The same for the scheduler that runs on this thread. There must be one.
scope_core& root_of_current();

/// A task spawned into a scope, together with the callable and the arguments that it refers to. It
/// is told of the task's end, hands the outcome to the scope and frees itself.
class child : public waiter {
public:
    virtual pending& awaited_task() noexcept = 0;
    virtual const frame* top_frame() const noexcept = 0;

    scope_core* owner = nullptr;
    child* previous = nullptr;
    child* next = nullptr;

protected:
    explicit child(notify_function* done) noexcept : waiter(done) {}
    ~child() = default;
};

/// Where failures go that do not end a scope.
class failure_sink {
public:
    virtual void failed(std::exception_ptr exception) noexcept = 0;
    virtual void failed(std::error_code error) noexcept = 0;

protected:
    ~failure_sink() = default;
};

/// Waits in a list for the end of a child.
struct end_listener {
    waiter* told = nullptr;
    end_listener* next = nullptr;
};

/// The children of a scope and how the first failure ends them all.
class scope_core {
public:
    scope_core() noexcept = default;
    ~scope_core() = default;
    scope_core(const scope_core&) = delete;
    scope_core& operator=(const scope_core&) = delete;

    void open(const task_context& context) noexcept {
        context_ = context;
        stop_.level = context.stop != nullptr ? context.stop->level : stop_level::none;
    }
    task_context context() noexcept { return {context_.owner, &stop_, context_.parent}; }
    run_loop& loop() const noexcept { return *context_.owner; }

    void add(child& which) noexcept;
    void unlink(child& which) noexcept;
    /// To be called when the unlinked child is gone.
    void child_ended() noexcept;
    bool empty() const noexcept { return first_ == nullptr; }
    std::size_t count() const noexcept { return count_; }
    void name_children() const noexcept;

    /// The first failure is the outcome and cancels the rest.
    void fail(std::exception_ptr thrown) noexcept;
    void fail(std::error_code code) noexcept;

    /// A child's failure is the scope's, unless a sink takes it.
    template <class Failure>
    void child_failed(Failure failure) noexcept {
        if (sink != nullptr) {
            sink->failed(std::move(failure));
        } else {
            fail(std::move(failure));
        }
    }

    void request(stop_level level) noexcept;
    stop_level level() const noexcept { return stop_.level; }

    /// Tells `told` when there is no child left. There must be one.
    void wait_until_empty(waiter& told) noexcept { joining_ = &told; }
    /// Who waited and is not to be told any more; nullptr if nobody, or told already.
    waiter* stop_waiting() noexcept { return std::exchange(joining_, nullptr); }
    bool canceled() const noexcept { return stop_.canceled(); }

    /// Has `which` told at the next end of a child, once, unless it leaves before.
    void listen(end_listener& which) noexcept {
        which.next = listeners_;
        listeners_ = &which;
    }
    /// False if it has been told already.
    bool stop_listening(end_listener& which) noexcept;

    std::exception_ptr exception;
    std::error_code error;
    pending* body = nullptr; // Is asked to end with the children.
    failure_sink* sink = nullptr;

private:
    task_context context_;
    stop_state stop_;
    child* first_ = nullptr;
    child* last_ = nullptr;
    std::size_t count_ = 0;
    waiter* joining_ = nullptr;
    end_listener* listeners_ = nullptr;
};

/// A spawned task yields nothing, or a `result<void>` whose failure is the scope's.
template <class T>
concept spawnable_outcome = std::is_void_v<T> || std::is_same_v<T, result<void>>;

template <class Callable, class... Args>
class child_of final : public child {
    using task_type = std::invoke_result_t<Callable&, Args&&...>;
    using outcome = typename task_type::value_type;
    static_assert(
        spawnable_outcome<outcome>,
        "a spawned task yields nothing or a result<void>: nobody would take another value"
    );
    static_assert(
        alignof(Callable) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__ &&
            ((alignof(Args) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) && ...),
        "what a spawned task keeps must not need more than the default alignment"
    );

public:
    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

    template <class F, class... A>
    explicit child_of(F&& callable, A&&... args)
        : child(&child_of::done), callable_(std::forward<F>(callable)),
          args_(std::forward<A>(args)...),
          task_(std::apply([this](Args&... kept) { return callable_(std::move(kept)...); }, args_)),
          awaiter_(task_) {}

    void start(scope_core& into) noexcept {
        into.add(*this);
        awaiter_.start(into.context(), *this);
    }

private:
    pending& awaited_task() noexcept override { return awaiter_; }
    const frame* top_frame() const noexcept override { return awaiter_.started_frame(); }

    static void done(waiter& base) noexcept {
        auto* self = static_cast<child_of*>(&static_cast<child&>(base));
        scope_core& scope_of_self = *self->owner;
        if (self->awaiter_.exception) {
            scope_of_self.child_failed(std::move(self->awaiter_.exception));
        } else if constexpr (!std::is_void_v<outcome>) {
            if (const auto* value = self->awaiter_.value(); value != nullptr && !*value) {
                scope_of_self.child_failed(value->error());
            }
        }
        // The callable and its arguments go before the scope can end: they may refer to what the
        // scope's owner keeps.
        scope_of_self.unlink(*self);
        delete self;
        scope_of_self.child_ended();
    }

    [[no_unique_address]] Callable callable_;
    [[no_unique_address]] std::tuple<Args...> args_;
    task_type task_;
    task_awaiter<outcome> awaiter_;
};

/// What an exception says, for a line in the log.
std::string message_of(const std::exception_ptr& exception) noexcept;

/// A task that was made before it is spawned, as a callable.
template <class T>
class ready_made {
public:
    explicit ready_made(task<T>&& made) noexcept : made_(std::move(made)) {}
    task<T> operator()() noexcept { return std::move(made_); }

private:
    task<T> made_;
};

template <class Callable, class... Args>
concept yields_task = requires(std::decay_t<Callable>& callable, std::decay_t<Args>&&... args) {
    requires is_task_v<decltype(callable(std::move(args)...))>;
};

template <class Callable, class... Args>
    requires yields_task<Callable, Args...>
void spawn_into(scope_core& into, Callable&& callable, Args&&... args) {
    auto* made = new child_of<std::decay_t<Callable>, std::decay_t<Args>...>(
        std::forward<Callable>(callable), std::forward<Args>(args)...
    );
    made->start(into);
}

template <class T>
void spawn_into(scope_core& into, task<T>&& made) {
    spawn_into(into, ready_made<T>(std::move(made)));
}

class join_awaiter;

template <class Callable, class Arg>
concept yields_task_with = requires(std::decay_t<Callable>& callable, Arg argument) {
    requires is_task_v<decltype(callable(argument))>;
};

} // namespace detail

/// What `scope::join` returns.
class [[nodiscard("co_await the join")]] join_description : public detail::awaitable_base {
public:
    using awaiter = detail::join_awaiter;
    explicit join_description(detail::scope_core& core) noexcept : core_(&core) {}

private:
    friend awaiter;
    detail::scope_core* core_;
};

namespace detail {

class join_awaiter final : public pending {
public:
    using result_type = result<void>;

    explicit join_awaiter(join_description& description) noexcept
        : pending(kind_of), core_(description.core_) {}

    bool start(const task_context& context, waiter& told) noexcept {
        if (core_->empty()) {
            return true;
        }
        if (context.stop->canceled() && !core_->canceled()) {
            left_ = true;
            return true;
        }
        core_->wait_until_empty(told);
        return false;
    }
    result_type take() {
        if (left_) {
            return errno_code(ECANCELED);
        }
        if (core_->exception) {
            std::rethrow_exception(core_->exception);
        }
        return core_->error ? result_type(core_->error) : result_type();
    }

private:
    // The cancel of the scope itself reaches the children, and the join waits for them: they may
    // use what the body owns. Anything else, such as a limit on the join, ends the wait alone.
    static pending* request(pending& base, stop_level level) noexcept {
        auto& self = static_cast<join_awaiter&>(base);
        if (level == stop_level::cancel && !self.core_->canceled()) {
            if (waiter* told = self.core_->stop_waiting()) {
                self.left_ = true;
                told->notify();
            }
        }
        return nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "join"};

    scope_core* core_;
    bool left_ = false;
};

} // namespace detail

/// The children that a task started and that end before it goes on. `with_scope` opens one; there
/// is no other way, so none can be forgotten.
///
/// Used by the thread of its scheduler only; `stop_token.hpp` links it to a `std::stop_token`.
class scope {
public:
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

    /// Starts a task that runs beside this one and ends before the scope does.
    ///
    /// \param callable  yields a `task<>` or a `task<result<void>>`; kept until that task has
    ///                  ended.
    /// \param args      are kept as long, and handed to `callable` as rvalues.
    template <class Callable, class... Args>
        requires detail::yields_task<Callable, Args...>
    void spawn(Callable&& callable, Args&&... args) {
        detail::spawn_into(core_, std::forward<Callable>(callable), std::forward<Args>(args)...);
    }
    template <class T>
    void spawn(task<T>&& made) {
        detail::spawn_into(core_, std::move(made));
    }

    /// Waits until every child has ended. A body that lends its own locals to its children ends
    /// with this, since its locals go at its `co_return`.
    ///
    /// \return  the first failure of a child; an exception of a child is thrown. `ECANCELED` if the
    ///          wait was ended alone, as by `with_timeout`; a cancel of the scope itself ends the
    ///          children, and the join returns when they are gone.
    ///
    /// \par Concurrency  One join at a time.
    join_description join() noexcept { return join_description(core_); }

    /// Asks body and children to end: `this_task::stop_requested` turns true, and waits marked
    /// `idle` end with `errc::stopped`.
    void request_stop() noexcept { core_.request(detail::stop_level::stop); }

    /// Ends body and children: operations in flight are canceled, later ones are refused with
    /// `ECANCELED`. Exempt is what is `shielded`.
    void cancel() noexcept { core_.request(detail::stop_level::cancel); }

    bool stop_requested() const noexcept { return core_.level() != detail::stop_level::none; }
    bool canceled() const noexcept { return core_.level() == detail::stop_level::cancel; }

    /// The number of children that have not ended.
    std::size_t size() const noexcept { return core_.count(); }

private:
    template <class>
    friend class detail::with_scope_awaiter;
    friend detail::scope_core& detail::core_of(scope& from) noexcept;
    scope() noexcept = default;

    detail::scope_core core_;
};

template <class Callable>
class with_scope_description;

namespace detail {

inline scope_core& core_of(scope& from) noexcept {
    return from.core_;
}

/// Runs the body with a scope of its own, which lives here, in the awaiting frame; is over when the
/// body and all children are.
template <class Callable>
class with_scope_awaiter final : public pending, private waiter {
    using body_task = std::invoke_result_t<Callable&, scope&>;
    using outcome = typename body_task::value_type;
    using traits = outcome_traits<outcome>;

public:
    using result_type = outcome;

    explicit with_scope_awaiter(with_scope_description<Callable>& description) noexcept
        : pending(kind_of), waiter(&body_done), callable_(description.callable_) {}
    ~with_scope_awaiter() {
        if (made_) {
            std::destroy_at(std::addressof(body_));
        }
    }

    bool start(const task_context& context, waiter& told) noexcept {
        told_ = &told;
        scope_core& core = scope_.core_;
        core.open(context);
        // The callable need not be a coroutine itself: it may use the scope, and it may throw.
        try {
            body_task made = callable_(scope_);
            std::construct_at(std::addressof(body_), made);
        } catch (...) {
            core.fail(std::current_exception());
            if (core.empty()) {
                return true;
            }
            core.wait_until_empty(told);
            return false;
        }
        made_ = true;
        core.body = &body_;
        body_.start(core.context(), *this);
        return false;
    }

    result_type take() {
        scope_core& core = scope_.core_;
        if (core.exception) {
            std::rethrow_exception(core.exception);
        }
        if (core.error) {
            if constexpr (traits::can_fail) {
                if (outcome* own = body_.value(); own != nullptr) {
                    // Bytes and the like that the body counted stay beside the error.
                    traits::replace_error(*own, core.error);
                    return std::move(*own);
                }
                return outcome(core.error);
            } else {
                throw std::system_error(core.error, "with_scope");
            }
        }
        return body_.take();
    }

private:
    static void body_done(waiter& base) noexcept {
        auto& self = static_cast<with_scope_awaiter&>(base);
        scope_core& core = self.scope_.core_;
        core.body = nullptr;
        if (self.body_.exception) {
            core.fail(self.body_.exception);
        } else if constexpr (traits::can_fail) {
            if (const outcome* value = self.body_.value()) {
                if (const std::error_code error = traits::error(*value)) {
                    core.fail(error);
                }
            }
        }
        if (core.empty()) {
            self.told_->notify();
        } else {
            core.wait_until_empty(*self.told_);
        }
    }
    static pending* request(pending& base, stop_level level) noexcept {
        static_cast<with_scope_awaiter&>(base).scope_.core_.request(level);
        return nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "scope"};

    scope scope_;
    waiter* told_ = nullptr;
    Callable& callable_;
    bool made_ = false;
    union {
        task_awaiter<outcome> body_;
    };
};

} // namespace detail

/// What `with_scope` returns.
template <class Callable>
class [[nodiscard("co_await with_scope(...)")]] with_scope_description
    : public detail::awaitable_base {
public:
    using awaiter = detail::with_scope_awaiter<Callable>;
    explicit with_scope_description(Callable&& callable) : callable_(std::move(callable)) {}
    explicit with_scope_description(const Callable& callable) : callable_(callable) {}

private:
    friend awaiter;
    Callable callable_;
};

/// Runs `callable(scope&)` and returns when it and every child that it spawned have ended.
///
/// The first failure of body or children, an exception or a failed `result`, cancels the others and
/// is the outcome. A body that yields no `result` passes a child's failed one on as
/// `std::system_error`.
///
/// \param callable  yields a task. On gcc 12 a lambda that is a temporary must be trivially
///                  destructible, since that compiler destroys its captures twice: give it a name.
/// \return          what the body's task yields. Children that answer `ECANCELED` after a
///                  `cancel()` make that the outcome.
template <class Callable>
    requires detail::yields_task_with<Callable, scope&>
auto with_scope(Callable&& callable) {
    GYRE_CALLABLE_IS_SAFE(Callable);
    return with_scope_description<std::decay_t<Callable>>(std::forward<Callable>(callable));
}

/// Starts a task in the scope that holds all tasks of the running scheduler. It is canceled and
/// joined when the scheduler ends.
///
/// An exception that it lets out goes to the hook of `set_unhandled_hook`; a failed result is
/// logged.
///
/// \param callable  yields a `task<>` or a `task<result<void>>`; kept until that task has ended.
/// \param args      are kept as long, and handed to `callable` as rvalues.
template <class Callable, class... Args>
    requires detail::yields_task<Callable, Args...>
void spawn(Callable&& callable, Args&&... args) {
    detail::spawn_into(
        detail::root_of_current(), std::forward<Callable>(callable), std::forward<Args>(args)...
    );
}
template <class T>
void spawn(task<T>&& made) {
    detail::spawn_into(detail::root_of_current(), std::move(made));
}

/// Called with the exception that a task of `spawn` let out. It may return: the task is over then.
using unhandled_hook = void (*)(std::exception_ptr) noexcept;

/// Replaces the hook and returns the one before. The default logs and calls `std::terminate`;
/// nullptr brings it back.
unhandled_hook set_unhandled_hook(unhandled_hook hook) noexcept;

} // namespace gyre::inline v0
