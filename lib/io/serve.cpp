#include <gyre/io/serve.hpp>

#include <gyre/detail/outcome.hpp>
#include <gyre/error.hpp>
#include <gyre/io/signals.hpp>
#include <gyre/log.hpp>
#include <gyre/net/listener.hpp>
#include <gyre/net/seqpacket.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/scheduler/waiter.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/sleep.hpp>
#include <gyre/task/stop.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/when_any.hpp>
#include <gyre/task/with_timeout.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>

#include <sys/resource.h>

namespace gyre::inline v0::detail {

namespace {

class child_end_awaiter;

/// Waits until a child of a scope ends; `ECANCELED` when canceled first.
class child_end : public awaitable_base {
public:
    using awaiter = child_end_awaiter;
    explicit child_end(scope_core& of) noexcept : of_(&of) {}

private:
    friend awaiter;
    scope_core* of_;
};

class child_end_awaiter final : public pending, private end_listener {
public:
    using result_type = result<void>;

    explicit child_end_awaiter(child_end& description) noexcept
        : pending(kind_of), of_(*description.of_) {}

    bool start(const task_context& context, waiter& informed) noexcept {
        if (context.stop->canceled()) {
            canceled_ = true;
            return true;
        }
        told = &informed;
        of_.listen(*this);
        return false;
    }
    result_type take() const noexcept {
        return canceled_ ? result_type(errno_code(ECANCELED)) : result_type();
    }

private:
    static pending* request(pending& base, stop_level level) noexcept {
        auto& self = static_cast<child_end_awaiter&>(base);
        // Not in the list any more: it was told, and its task is about to go on.
        if (level == stop_level::cancel && self.of_.stop_listening(self)) {
            self.canceled_ = true;
            self.told->notify();
        }
        return nullptr;
    }
    static constexpr pending_kind kind_of = {&request, "session end"};

    scope_core& of_;
    bool canceled_ = false;
};

class session_errors final : public failure_sink {
public:
    explicit session_errors(void (*hook)(const session_error&) noexcept) noexcept : hook_(hook) {}

    void failed(std::exception_ptr thrown) noexcept override {
        if (hook_ != nullptr) {
            hook_(session_error(std::move(thrown), {}));
        } else {
            log(log_level::error, "a session let out an exception: " + message_of(thrown));
        }
    }
    void failed(std::error_code code) noexcept override {
        if (hook_ != nullptr) {
            hook_(session_error(nullptr, code));
        }
    }

private:
    void (*hook_)(const session_error&) noexcept;
};

// The connection failed before it was accepted, accept(2) says: the next one may be fine.
bool concerns_one_connection(int error) noexcept {
    switch (error) {
    case ECONNABORTED:
    case EPERM: // A firewall rule.
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

bool concerns_resources(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

constexpr std::chrono::milliseconds shortest_pause(10);
constexpr std::chrono::milliseconds longest_pause(1000);

template <class Listener, class Peer>
task<result<void>> accept_from(
    Listener& from, scope_core& into, session_source<Peer>& sessions, std::size_t connections_max
) {
    std::chrono::milliseconds pause = shortest_pause;
    std::optional<clock::time_point> told_at; // One line in 10 s, however often it comes.
    for (;;) {
        while (into.count() >= connections_max) {
            const auto room = co_await idle(child_end(into));
            if (!room) {
                co_return result<void>();
            }
        }
        auto accepted = co_await idle(from.accept());
        if (accepted) {
            pause = shortest_pause;
            // Another listener's connection may have taken the last place meanwhile.
            while (into.count() >= connections_max) {
                const auto room = co_await idle(child_end(into));
                if (!room) {
                    co_return result<void>();
                }
            }
            try {
                sessions.start(into, *std::move(accepted));
            } catch (...) {
                into.sink->failed(std::current_exception());
            }
            continue;
        }
        const std::error_code error = accepted.error();
        if (error == errc::stopped || is_canceled(error)) {
            co_return result<void>();
        }
        if (concerns_one_connection(error.value())) {
            continue;
        }
        if (!concerns_resources(error.value())) {
            co_return error;
        }
        // The connection stays in the backlog, so accepting again at once would only spin.
        const clock::time_point now = clock::now();
        if (!told_at || now - *told_at >= std::chrono::seconds(10)) {
            told_at = now;
            log(log_level::warning,
                "serve: accept: " + describe(error) + "; waiting for sessions to end");
        }
        const auto waited = co_await idle(with_timeout(child_end(into), pause));
        if (!waited && waited.error() != errc::timed_out) {
            co_return result<void>();
        }
        pause = pause * 2 < longest_pause ? pause * 2 : longest_pause;
    }
}

task<result<void>> until_empty(scope_core& sessions) {
    while (!sessions.empty()) {
        co_await or_return(child_end(sessions));
    }
    co_return result<void>();
}

template <class Listener, class Peer>
task<> serve_any(std::span<Listener> from, session_source<Peer>& sessions, serve_options options) {
    if (options.raise_descriptor_limit) {
        rlimit limit{};
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
            limit.rlim_cur = limit.rlim_max;
            setrlimit(RLIMIT_NOFILE, &limit);
        }
    }
    session_errors errors(options.on_session_error);
    std::optional<signals> stop_signals;
    if (options.stop_on_signals) {
        stop_signals.emplace(std::initializer_list<int>{SIGINT, SIGTERM});
    }

    auto serving = [&](scope& running) -> task<result<void>> {
        scope_core& session_scope = core_of(running);
        session_scope.sink = &errors;

        // Accept until a signal or a stop from above, or until accepting fails for good.
        std::size_t accepting_on = 0;
        auto accepting = [&](scope& acceptors) -> task<result<void>> {
            for (Listener& each : from) {
                ++accepting_on;
                auto accept = [&, source = &each]() -> task<result<void>> {
                    const auto over = co_await accept_from(
                        *source, session_scope, sessions, options.connections_max
                    );
                    if (--accepting_on == 0) { // All closed by others: no signal to wait for.
                        acceptors.request_stop();
                    }
                    co_return over;
                };
                acceptors.spawn(accept);
            }
            if (stop_signals) {
                const auto arrived = co_await idle(stop_signals->next());
                if (arrived) {
                    acceptors.request_stop();
                } else if (arrived.error() != errc::stopped && !is_canceled(arrived.error())) {
                    co_return arrived.error();
                }
            }
            co_return result<void>();
        };
        const auto ended = co_await with_scope(accepting);

        for (Listener& each : from) {
            const auto closed = co_await each.close();
            static_cast<void>(closed);
        }
        if (!ended) {
            running.cancel();
            co_return ended;
        }
        running.request_stop();
        if (stop_signals) {
            const auto drained = co_await when_any(
                until_empty(session_scope), sleep_for(options.drain_for), stop_signals->next()
            );
            static_cast<void>(drained);
        } else {
            const auto drained =
                co_await with_timeout(until_empty(session_scope), options.drain_for);
            static_cast<void>(drained);
        }
        running.cancel();
        co_return result<void>();
    };
    const auto served = co_await with_scope(serving);
    if (!served && !is_canceled(served.error())) {
        throw_error(served.error(), "serve: accept");
    }
}

} // namespace

task<>
serve_from(std::span<listener> from, session_source<stream>& sessions, serve_options options) {
    return serve_any(from, sessions, options);
}

task<> serve_from(
    std::span<seqpacket_listener> from, session_source<seqpacket>& sessions, serve_options options
) {
    return serve_any(from, sessions, options);
}

} // namespace gyre::inline v0::detail
