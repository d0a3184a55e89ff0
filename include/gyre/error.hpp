#pragma once

#include <string>
#include <string_view>
#include <system_error>

namespace gyre::inline v0 {

/// The few outcomes that have no errno. Everything else is an errno in `std::system_category`.
enum class errc {
    /// A stop was requested while a wait marked `idle` was pending.
    stopped = 1,
    /// The limit given to `with_timeout` passed. Compares equal to `std::errc::timed_out`, and is
    /// not TCP's own `ETIMEDOUT`, which means that the peer stopped answering.
    timed_out,
    /// The data ended before the last byte that was asked for, or a range has no further element.
    end_of_stream,
    /// The scheduler has ended.
    closed,
};

/// The category of `errc`; its name is "gyre".
const std::error_category& gyre_category() noexcept;

std::error_code make_error_code(errc code) noexcept;

/// An errno, positive as in `errno`, as a code of `std::system_category`.
std::error_code errno_code(int positive_errno) noexcept;

/// The symbol of an errno: `errno_name(104)` is "ECONNRESET". Never null; "unknown errno" for a
/// number that has no name here.
const char* errno_name(int positive_errno) noexcept;

/// Name and meaning: "ECONNRESET: Connection reset by peer", "timed_out: the time limit passed".
///
/// The text is never translated, so a log reads the same under every locale.
std::string describe(std::error_code code);

/// Throws a `std::system_error` that carries `code` and whose `what()` says what failed, on what,
/// the name of the error, and what helps:
/// `listener::bind 127.0.0.1:80: EACCES: ports below 1024 need CAP_NET_BIND_SERVICE`
///
/// \param what  what failed and on what: `listener::bind 127.0.0.1:80`.
/// \param help  what helps; when empty, the meaning of the code takes its place.
[[noreturn]] void
throw_error(std::error_code code, std::string_view what, std::string_view help = {});

} // namespace gyre::inline v0

template <>
struct std::is_error_code_enum<gyre::errc> : std::true_type {};
