#pragma once

#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/result.hpp>

namespace gyre::inline v0 {

/// A socket of any family, type and protocol: socket(2) for what `stream`, `datagram`, `seqpacket`
/// and `listener` do not cover, such as raw, netlink, packet and vsock sockets. Owns its descriptor.
///
/// What waits is done by `op::` on its `native_handle()`; whoever has such an operation in flight
/// keeps the socket open until the task resumes. An `endpoint` holds addresses of any family up to
/// 110 bytes, written through its `data()`. Used by one thread at a time.
class generic_socket : public descriptor {
public:
    /// Makes one, close-on-exec.
    ///
    /// \param family, type, protocol  the AF_, SOCK_ and protocol numbers of socket(2).
    /// \throws std::system_error  `EPERM`, `EACCES` raw and packet sockets need CAP_NET_RAW.
    ///                            `EAFNOSUPPORT`, `EPROTONOSUPPORT`, `EMFILE`, ...
    static generic_socket open(int family, int type, int protocol = 0);
    /// The same, but yields the error.
    static result<generic_socket> try_open(int family, int type, int protocol = 0) noexcept;

    /// Takes over a socket of any kind.
    static generic_socket adopt(int fd) noexcept;

    /// Gives the number away: see `stream::release`.
    int release() noexcept { return release_number(); }
    /// Makes of it what `stream::try_adopt` and its like take. It is closed afterwards.
    owned_descriptor into_owned() noexcept;

    /// bind(2). A Unix path makes a file, which stays.
    result<void> bind(const endpoint& at) noexcept;
    /// listen(2). The kernel cuts `backlog` to `listener::backlog_limit()`.
    result<void> listen(int backlog) noexcept;
    /// Ends one direction, or both; shutdown(2).
    result<void> shutdown(shutdown_side side) noexcept;
    using descriptor::peer_endpoint;

    /// Closes the descriptor; close(2).
    close_description close() noexcept { return close_description(*this); }

private:
    generic_socket(int fd, detail::domain& home) noexcept : descriptor(fd, home) {}
};

} // namespace gyre::inline v0
