#pragma once

#include <gyre/net/owned_descriptor.hpp>
#include <gyre/result.hpp>

#include <string>
#include <utility>
#include <vector>

namespace gyre::inline v0 {

/// A descriptor that a service manager has handed over, and the name it has in its configuration.
struct inherited_descriptor {
    inherited_descriptor(owned_descriptor&& from, std::string&& called) noexcept
        : descriptor(std::move(from)), name(std::move(called)) {}
    owned_descriptor descriptor;
    std::string name; ///< "unknown" if the manager gave none.
};

/// Takes what a service manager has handed over to this process, in its order: the sockets of a
/// systemd socket unit, for instance. All are close-on-exec from then on. None of them is looked at;
/// `listener::try_adopt` and its like say whether one is what it should be.
///
/// The environment variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say what there is, as
/// sd_listen_fds(3) has it. They are removed, so that no child takes them for its own; a second call
/// yields nothing. Call it before other threads use the environment.
///
/// \return  what was handed over; nothing if there is none, or if it is meant for another process.
///
/// \throws std::system_error  `EINVAL` the variables contradict each other. `EBADF` one of the
///                            descriptors is not open. Then none is taken.
std::vector<inherited_descriptor> inherited_descriptors();
/// The same, but yields the error.
result<std::vector<inherited_descriptor>> try_inherited_descriptors();

} // namespace gyre::inline v0
