#pragma once

namespace gyre::inline v0::detail {

/// Prints `gyre: precondition failed: TEXT (CONDITION) at FILE:LINE` to stderr as one line and
/// aborts. A debugger or a SIGABRT handler finds the caller's frame still in place.
[[noreturn]] void
assertion_failed(const char* condition, const char* text, const char* file, int line) noexcept;

} // namespace gyre::inline v0::detail

/// Checks a precondition in every build: for breaches that would corrupt memory or data.
#define GYRE_ASSERT_ALWAYS(condition, text)                                                        \
    (__builtin_expect(static_cast<bool>(condition), true)                                          \
         ? static_cast<void>(0)                                                                    \
         : ::gyre::detail::assertion_failed(#condition, text, __FILE__, __LINE__))

/// Checks a precondition unless NDEBUG is defined; then the condition is compiled and never run.
#ifdef NDEBUG
#define GYRE_ASSERT(condition, text)                                                               \
    (true ? static_cast<void>(0) : static_cast<void>(static_cast<bool>(condition)))
#else
#define GYRE_ASSERT(condition, text) GYRE_ASSERT_ALWAYS(condition, text)
#endif
