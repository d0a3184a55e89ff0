#pragma once

#include <gyre/net/endpoint.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

namespace gyre::inline v0 {

/// One of the connections that `connect_to` tried.
struct connect_attempt {
    endpoint to;
    /// Empty for the one that was taken; `ECANCELED` for one that another was faster than, or that
    /// the caller canceled.
    std::error_code error;
};

/// How `connect_to` connects.
struct connect_to_options {
    /// Only addresses of this family, IPv4 or IPv6; by default of both.
    address_family family = address_family::unspecified;
    /// How long an attempt has before the next one starts beside it: from 10 ms to 2 s, and what is
    /// outside is taken for the nearer of the two.
    std::chrono::nanoseconds attempt_delay = std::chrono::milliseconds(250);
    /// TCP_NODELAY.
    bool no_delay = true;
    /// Where to note each attempt, in the order in which they started; complete when the task has
    /// ended, and alive until then.
    std::vector<connect_attempt>* attempts = nullptr;
};
static_assert(std::is_trivially_destructible_v<connect_to_options>);

/// Connects to a host by its name, at whichever of its addresses answers first: Happy Eyeballs, RFC
/// 8305.
///
/// The addresses that `resolve` yields are tried in its order, but IPv6 and IPv4 in turn. The next
/// attempt starts as soon as one fails, or when the last one has had no answer for `attempt_delay`.
/// The first that connects is taken; the others are closed before the task goes on.
///
/// \param host     a name or an address, as for `resolve`.
/// \param service  a name or a number: `https`, `443`. Or a number as such.
/// \param options  the family, the pace, where to note what was tried.
/// \return         the connected stream.
///
/// \par Errors        those of `resolve`. If every attempt fails, the error of the first of them,
///                    but errors that say only that there is no way to an address (`ENETUNREACH`,
///                    `EHOSTUNREACH`, `EADDRNOTAVAIL`, `EAFNOSUPPORT`) come last: with IPv6 that
///                    goes nowhere and an IPv4 host that refuses it is `ECONNREFUSED`. `ECANCELED`
///                    the task was canceled. `with_timeout` sets a limit to the whole.
/// \par Cancellation  Ends the lookup, and every attempt; a connection that won the race is the
///                    result.
/// \par Lifetime      `host` and `service` are kept by the task; `attempts` outlives it.
/// \par Kernel        getaddrinfo(3) beside it; 5.5 IORING_OP_CONNECT, connect(2).
task<result<stream>>
connect_to(std::string host, std::string service, connect_to_options options = {});
task<result<stream>>
connect_to(std::string host, std::uint16_t port, connect_to_options options = {});

/// The same for endpoints that are known, the best first.
///
/// \return  the connected stream, or `EDESTADDRREQ` if none of the endpoints is of the family asked
///          for.
task<result<stream>> connect_to(std::vector<endpoint> candidates, connect_to_options options = {});

} // namespace gyre::inline v0
