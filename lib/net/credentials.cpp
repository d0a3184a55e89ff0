#include <gyre/net/credentials.hpp>

#include <gyre/error.hpp>
#include <gyre/net/ancillary.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/result.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/socket.h>

namespace gyre::inline v0 {

static_assert(pass_credentials::name == SO_PASSCRED);

namespace {

constexpr int peer_groups_name = 59; // SO_PEERGROUPS, 4.13.
constexpr int peer_pidfd_name = 77;  // SO_PEERPIDFD, 6.5.

// Sockets of other families, and those without a peer, answer with nobody at all.
result<ucred> credentials_of(const descriptor& connected) noexcept {
    ucred who = {};
    const result<std::size_t> size =
        connected.raw_option(SOL_SOCKET, SO_PEERCRED, std::as_writable_bytes(std::span(&who, 1)));
    if (!size) {
        return size.error();
    }
    if (who.uid == static_cast<uid_t>(-1)) {
        return errno_code(ENOTCONN);
    }
    return who;
}

} // namespace

result<process_credentials> peer_credentials(const descriptor& connected) noexcept {
    const result<ucred> who = credentials_of(connected);
    if (!who) {
        return who.error();
    }
    return process_credentials{who->pid, who->uid, who->gid};
}

result<owned_descriptor> peer_process(const descriptor& connected) noexcept {
    const result<ucred> who = credentials_of(connected);
    if (!who) {
        return who.error();
    }
    int fd = -1;
    const result<std::size_t> size = connected.raw_option(
        SOL_SOCKET, peer_pidfd_name, std::as_writable_bytes(std::span(&fd, 1))
    );
    if (!size) {
        return size.error();
    }
    return owned_descriptor(fd);
}

result<std::size_t>
peer_groups(const descriptor& connected, std::span<std::uint32_t> groups) noexcept {
    static_assert(sizeof(gid_t) == sizeof(std::uint32_t));
    const result<ucred> who = credentials_of(connected);
    if (!who) {
        return who.error();
    }
    const result<std::size_t> size =
        connected.raw_option(SOL_SOCKET, peer_groups_name, std::as_writable_bytes(groups));
    if (!size) {
        return size.error();
    }
    return *size / sizeof(gid_t);
}

} // namespace gyre::inline v0
