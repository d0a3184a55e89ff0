#pragma once

#include <string_view>

namespace gyre::inline v0 {

/// How much a line of the log asks for attention.
enum class log_level {
    info,    ///< a choice worth knowing, such as a feature switched off
    warning, ///< gyre goes on, but differently than asked: a fallback, a refused task
    error,   ///< something was lost or left behind
};

/// Receives each line, without a line break. May be called on any thread, and on several at once.
using log_hook = void (*)(log_level, std::string_view) noexcept;

/// Sends the lines that follow to `hook` instead; `nullptr` silences them.
///
/// The hook in place at start writes `gyre: warning: TEXT` to stderr, one write(2) a line.
///
/// \return           the hook that was in place, so that it can be put back.
/// \par Concurrency  Any thread, at any time. A line already on its way may still reach the old
///                   hook.
log_hook set_log_hook(log_hook hook) noexcept;

/// Hands one line to the log hook. Any thread may call it.
void log(log_level level, std::string_view text) noexcept;

} // namespace gyre::inline v0
