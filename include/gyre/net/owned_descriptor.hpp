#pragma once

#include <gyre/net/descriptor.hpp>
#include <gyre/ring/domain.hpp>

namespace gyre::inline v0 {

/// An open descriptor of any kind, closed when this object goes: one that was received from another
/// process, or that a service manager has handed over. `stream::try_adopt` and its like make of it
/// what it is; `op::` reads and writes it as it stands.
///
/// Used by one thread at a time. Closing it does not wait for operations: whoever has one in flight
/// on the number keeps this object until the task resumes.
class owned_descriptor {
public:
    /// Owns nothing.
    owned_descriptor() noexcept = default;
    /// Takes over an open descriptor of the system; -1 for none.
    explicit owned_descriptor(int fd) noexcept;
    owned_descriptor(int fd, detail::domain& home) noexcept : fd_(fd, home) {}

    bool is_open() const noexcept { return fd_.get() >= 0; }
    /// The number, -1 for none. It stays owned by this object.
    int native_handle() const noexcept { return fd_.get(); }
    /// Gives the number away: it is the caller's to close.
    int release() noexcept;
    /// Closes it now.
    void reset() noexcept { fd_.reset(); }

    /// Where the number means something.
    detail::domain& home() const noexcept { return fd_.home(); }

private:
    detail::owned_fd fd_;
};

} // namespace gyre::inline v0
