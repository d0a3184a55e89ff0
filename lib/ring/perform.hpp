#pragma once

#include <gyre/ring/queues.hpp>

#include <bitset>
#include <cstdint>

namespace gyre::inline v0::detail {

/// A submission that a software engine has taken, and how far it has come.
struct performance {
    submission entry;
    std::uint32_t moved = 0; ///< Bytes that earlier tries have moved (MSG_WAITALL).
    bool begun = false;      ///< A connect is under way.
    bool unblocked = false;  ///< `perform` has made `entry.fd` O_NONBLOCK, which it was not.
    bool borrowed = false;   ///< An accept is to leave the mode of `entry.fd` as it was.
};

/// What one try of a submission came to: it is done, or has to wait for a descriptor.
class outcome {
public:
    static outcome done(std::int64_t result) noexcept {
        return {static_cast<std::int32_t>(result), -1, 0, false};
    }
    /// `events`: the POLL values to wait for; 0 if no readiness tells when to try again.
    static outcome waits_for(int fd, std::uint32_t events) noexcept {
        return {0, fd, events, true};
    }

    std::int32_t result; ///< As the completion says it.
    int fd;
    std::uint32_t events;
    bool waits;
};

/// Tries a submission once, as the kernel's ring does on the caller's thread: without waiting, with
/// the ring's results. A call that a signal interrupts is repeated.
///
/// SIGPIPE never rises. A descriptor is made O_NONBLOCK where a call has no other way not to wait:
/// by a connect, and by an accept, where it says so in `unblocked` and the engine takes it back;
/// for the time of one call by reads, writes and splices of what knows no RWF_NOWAIT.
/// Files and directories are read, written and opened with whatever time the disk takes.
outcome perform(performance& which) noexcept;

/// The same by the plain blocking system call, where there is one with the same outcome. Done with
/// -EINTR when a signal interrupts it: then it can go on later. It may still have to wait: where the
/// descriptor itself is O_NONBLOCK, and for room to send a part.
outcome perform_blocking(performance& which) noexcept;

/// The opcodes that `perform` knows, and ASYNC_CANCEL, which is the engines' own business.
std::bitset<uapi::opcode_count> performed_opcodes() noexcept;

/// Sets or clears O_NONBLOCK of the open file. 0 or a negative errno.
int set_nonblocking(int fd, bool on) noexcept;

} // namespace gyre::inline v0::detail
