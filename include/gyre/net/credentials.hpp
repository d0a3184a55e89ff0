#pragma once

#include <gyre/net/ancillary.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

// Who is at the other end of a Unix socket. The kernel notes it down when the connection is made:
// it is who connected, or who listened, whatever has become of that process since.

/// SO_PASSCRED, unix(7): each receive tells in its `control_buffer` who has sent.
using pass_credentials = detail::flag_option<detail::level_socket, 16>;

/// The process, user and group of the peer of `connected`; SO_PEERCRED, unix(7). The process may
/// have ended and its number be another one's: `peer_process` is safe from that.
///
/// \par Errors  `ENOTCONN` it is no connected Unix socket.
result<process_credentials> peer_credentials(const descriptor& connected) noexcept;

/// A pidfd of the peer, which is ready to read when the process has ended; SO_PEERPIDFD (6.5).
///
/// \par Errors  `ENOTCONN` it is no connected Unix socket. `ENOPROTOOPT` the kernel is older.
///              `ESRCH`, `EINVAL` the process is gone, on kernels that tell it so. `EMFILE`.
result<owned_descriptor> peer_process(const descriptor& connected) noexcept;

/// The supplementary groups of the peer, written to `groups`; SO_PEERGROUPS (4.13).
///
/// \return  how many there are.
///
/// \par Errors  `ENOTCONN` it is no connected Unix socket. `ERANGE` there are more than fit.
result<std::size_t>
peer_groups(const descriptor& connected, std::span<std::uint32_t> groups) noexcept;

} // namespace gyre::inline v0
