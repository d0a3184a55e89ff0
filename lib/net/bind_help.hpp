#pragma once

namespace gyre::inline v0 {

class endpoint;
struct socket_file_options;

namespace detail {

/// What a caller can do about the errno of socket, bind or listen; may be empty.
const char* bind_help(int error, const endpoint& at, const socket_file_options& options) noexcept;

} // namespace detail
} // namespace gyre::inline v0
