#pragma once

#include <memory>
#include <optional>
#include <type_traits>

namespace gyre::inline v0 {

class endpoint;

/// What becomes of the file that binding to a Unix path makes. All of this is about paths; abstract
/// names and IP endpoints have no file.
struct socket_file_options {
    /// Its permissions, such as 0660, which to write is to connect. Unset leaves them to the umask.
    /// At no time has the file more than these.
    std::optional<unsigned> mode = std::nullopt;
    /// Remove the file when the socket is closed, if it is still the one that this socket has made.
    bool remove_on_close = false;
    /// Replace the file of a server that has died. A socket that lives is never replaced, nor a file
    /// that is no socket: `EADDRINUSE`.
    bool replace_stale = false;
};
static_assert(std::is_trivially_destructible_v<socket_file_options>);

namespace detail {

class domain;
struct made_file;

/// The file that a bind has made; removed when this goes, before its socket is closed: as long as
/// that lives the file's inode cannot become another file's.
class socket_file {
public:
    socket_file() noexcept;
    socket_file(socket_file&& other) noexcept;
    socket_file& operator=(socket_file&& other) noexcept;
    ~socket_file();

    void remove() noexcept;
    /// It stays where it is.
    void forget() noexcept;

private:
    friend int bind_socket(
        domain& home,
        int fd,
        const endpoint& at,
        const socket_file_options& options,
        socket_file& file
    ) noexcept;

    domain* home_ = nullptr;
    std::unique_ptr<made_file> made_;
};

/// bind(2), and what `options` want of the file if there will be one. Then `file` has it, and is to
/// `forget` it if it is to stay. 0 or a negative errno.
int bind_socket(
    domain& home, int fd, const endpoint& at, const socket_file_options& options, socket_file& file
) noexcept;

} // namespace detail
} // namespace gyre::inline v0
