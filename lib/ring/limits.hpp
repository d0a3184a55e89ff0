#pragma once

namespace gyre::inline v0::detail {

/// What a caller can do about the errno of a call that found no descriptor or no memory left; ""
/// for any other errno.
const char* limit_help(int error) noexcept;

} // namespace gyre::inline v0::detail
