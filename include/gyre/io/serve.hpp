#pragma once

#include <gyre/detail/callable.hpp>
#include <gyre/net/listener.hpp>
#include <gyre/net/seqpacket.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/with_timeout.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <limits>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

/// How a session of `serve` failed: by an exception or by a failed result.
struct session_error {
    session_error(std::exception_ptr thrown, std::error_code code) noexcept
        : exception(std::move(thrown)), error(code) {}
    std::exception_ptr exception; ///< Null for a failed result.
    std::error_code error;        ///< Empty for an exception.
};

/// How `serve` serves.
struct serve_options {
    /// SIGINT and SIGTERM end the accepting and start the drain; a second one cancels what is left.
    bool stop_on_signals = false;
    /// How long sessions may go on after a stop was asked for; then they are canceled.
    std::chrono::nanoseconds drain_for = std::chrono::seconds(5);
    /// How many sessions run at the same time. At the limit accepting pauses, and connections wait
    /// in the backlog.
    std::size_t connections_max = std::numeric_limits<std::size_t>::max();
    /// How long one session may last, from its accept; then it is canceled.
    std::chrono::nanoseconds session_limit = std::chrono::nanoseconds::max();
    /// Raises the soft limit of descriptors (RLIMIT_NOFILE) to the hard one first.
    bool raise_descriptor_limit = false;
    /// Called when a session fails; the server goes on. By default an exception is one line in the
    /// log, and a failed result is the session's own business.
    void (*on_session_error)(const session_error&) noexcept = nullptr;
};
static_assert(std::is_trivially_destructible_v<serve_options>);

namespace detail {

/// Starts sessions of a type that the accept loop does not know.
template <class Peer>
class session_source {
public:
    virtual void start(scope_core& into, Peer&& peer) = 0;

protected:
    ~session_source() = default;
};

task<>
serve_from(std::span<listener> from, session_source<stream>& sessions, serve_options options);
task<> serve_from(
    std::span<seqpacket_listener> from, session_source<seqpacket>& sessions, serve_options options
);

template <class Session, class Peer>
class session_source_of final : public session_source<Peer> {
public:
    session_source_of(Session& session, std::chrono::nanoseconds limit) noexcept
        : session_(session), limit_(limit) {}

    void start(scope_core& into, Peer&& peer) override {
        if (limit_ == std::chrono::nanoseconds::max()) {
            spawn_into(into, by_reference{session_}, std::move(peer));
        } else {
            spawn_into(into, limited, by_reference{session_}, limit_, std::move(peer));
        }
    }

private:
    struct by_reference {
        Session& session;
        auto operator()(Peer&& peer) const { return session(std::move(peer)); }
    };
    static task<result<void>>
    limited(by_reference session, std::chrono::nanoseconds limit, Peer peer) {
        const auto ended = co_await with_timeout(session(std::move(peer)), limit);
        if (!ended && ended.error() != errc::timed_out) {
            co_return ended;
        }
        co_return result<void>(); // Its time was up: that is no failure.
    }

    Session& session_;
    std::chrono::nanoseconds limit_;
};

template <class Peer, class Session, class Listener>
task<> serve_with(std::span<Listener> from, Session session, serve_options options) {
    session_source_of<Session, Peer> sessions(session, options.session_limit);
    co_await serve_from(from, sessions, options);
}

} // namespace detail

/// Accepts connections and runs one session for each, until it is asked to stop.
///
/// At the connection limit, which counts over all listeners, it pauses accepting; each listener may
/// hold one connection more that waits for a place. Without descriptors or memory (`EMFILE`,
/// `ENFILE`, `ENOBUFS`, `ENOMEM`) it waits for a session to end, or a while, and goes on. A failed
/// session ends alone. When a stop is asked for, by a signal or in the scope that it runs in, it
/// closes the listeners and drains: sessions see `this_task::stop_requested`, waits marked `idle`
/// end, and what is left after `drain_for` is canceled. It returns when every session has ended.
///
/// \param listeners  one listener or a span of them; they outlive the call.
/// \param session    `task<>` or `task<result<void>>` of a `stream`; called once for each
///                   connection.
/// \param options    limits, signals, the drain.
/// \throws std::system_error  if accepting fails for good, as with `EBADF` or `EINVAL`.
///
/// \par Cancellation  Ends accepting and every session.
template <class Session>
    requires detail::yields_task<Session, stream>
task<> serve(listener& from, Session&& session, serve_options options = {}) {
    GYRE_CALLABLE_IS_SAFE(Session);
    return detail::serve_with<stream, std::decay_t<Session>>(
        std::span<listener>(&from, 1), std::forward<Session>(session), options
    );
}
template <class Session>
    requires detail::yields_task<Session, stream>
task<> serve(std::span<listener> from, Session&& session, serve_options options = {}) {
    GYRE_CALLABLE_IS_SAFE(Session);
    return detail::serve_with<stream, std::decay_t<Session>>(
        from, std::forward<Session>(session), options
    );
}

/// The same for sessions of a `seqpacket`.
template <std::same_as<seqpacket_listener> Listener, class Session>
    requires detail::yields_task<Session, seqpacket>
task<> serve(Listener& from, Session&& session, serve_options options = {}) {
    GYRE_CALLABLE_IS_SAFE(Session);
    return detail::serve_with<seqpacket, std::decay_t<Session>>(
        std::span<seqpacket_listener>(&from, 1), std::forward<Session>(session), options
    );
}
template <std::same_as<seqpacket_listener> Listener, std::size_t Extent, class Session>
    requires detail::yields_task<Session, seqpacket>
task<> serve(std::span<Listener, Extent> from, Session&& session, serve_options options = {}) {
    GYRE_CALLABLE_IS_SAFE(Session);
    return detail::serve_with<seqpacket, std::decay_t<Session>>(
        std::span<seqpacket_listener>(from), std::forward<Session>(session), options
    );
}

} // namespace gyre::inline v0
