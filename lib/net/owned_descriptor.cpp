#include <gyre/net/owned_descriptor.hpp>

#include <gyre/net/descriptor.hpp>
#include <gyre/ring/domain.hpp>

namespace gyre::inline v0 {

owned_descriptor::owned_descriptor(int fd) noexcept : fd_(fd, detail::kernel_domain()) {
    if (fd >= 0) {
        home().handed_over(fd);
    }
}

int owned_descriptor::release() noexcept {
    if (is_open()) {
        detail::hand_over(home(), native_handle());
    }
    return fd_.release();
}

} // namespace gyre::inline v0
