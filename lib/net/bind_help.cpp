#include "net/bind_help.hpp"

#include <gyre/net/endpoint.hpp>
#include <gyre/net/socket_file.hpp>

#include <array>
#include <cerrno>

namespace gyre::inline v0::detail {

namespace {

bool is_abstract(const endpoint& at) noexcept {
    std::array<char, endpoint::text_size_max> text;
    return at.format_to(text).starts_with("unix:@");
}

} // namespace

const char* bind_help(int error, const endpoint& at, const socket_file_options& options) noexcept {
    const bool is_unix = at.family() == address_family::unix_domain;
    switch (error) {
    case EACCES:
        return is_unix ? "the directory must be writable for this user"
                       : "ports below 1024 need CAP_NET_BIND_SERVICE";
    case EADDRINUSE:
        if (!is_unix) {
            return "another socket is bound there; choose another port, or share it with "
                   "reuse_port";
        }
        if (is_abstract(at)) {
            return "another socket has the name";
        }
        return options.replace_stale
                   ? "a server that lives has the name, or one that starts now, or a file that is "
                     "no socket"
                   : "the name is taken; if it is the file of a dead server, replace_stale takes "
                     "it";
    case EADDRNOTAVAIL:
        return "no interface of this machine has that address";
    case EINVAL:
        return is_unix && options.mode ? "the mode of a socket file has the bits of 0777" : "";
    case ELOOP:
        return is_unix ? "a symbolic link is in the way, of the path or of its lock file" : "";
    case EMFILE:
        return "the process is at its descriptor limit (RLIMIT_NOFILE); raise it with ulimit -n";
    case ENOENT:
        return is_unix ? "the directory does not exist" : "";
    case EAFNOSUPPORT:
        return "this machine does not have that address family";
    default:
        return "";
    }
}

} // namespace gyre::inline v0::detail
