#include <gyre/op.hpp>

#include <gyre/net/descriptor.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/op/file.hpp>
#include <gyre/op/futex.hpp>
#include <gyre/op/msg_ring.hpp>
#include <gyre/op/raw_operation.hpp>
#include <gyre/op/socket.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>

namespace gyre::inline v0 {

static_assert(SOCK_CLOEXEC == 02000000 && O_CLOEXEC == 02000000);
static_assert(sizeof(::open_how) == 24);
static_assert(sizeof(std::atomic<std::uint32_t>) == 4); // What the kernel waits on.

namespace detail {

namespace {

// Ends the operation at once where the engine does not have it.
bool begins_if_known(run_loop& loop, std::uint8_t opcode, std::int32_t& result) noexcept {
    if (knows_opcode(loop, opcode)) {
        return true;
    }
    result = -ENOSYS;
    return false;
}

} // namespace

bool knows_opcode(run_loop& loop, std::uint8_t opcode) noexcept {
    return loop.carrier().report().opcodes[opcode];
}

void close_untaken(int fd) noexcept {
    close_fd(current_domain(), fd);
}

} // namespace detail

namespace op {

void forget(int fd) noexcept {
    if (detail::run_loop* loop = detail::run_loop::current()) {
        loop->flush_before_close(fd);
    }
}

bool close_operation::begin(detail::run_loop& loop, std::int32_t&) const noexcept {
    loop.flush_before_close(entry_.fd);
    detail::count_close(entry_.fd);
    return true;
}

bool socket_operation::begin(detail::run_loop& loop, std::int32_t& result) const noexcept {
    if (detail::knows_opcode(loop, opcode)) {
        return true;
    }
    result = loop.carrier().resources().socket(
        entry_.fd, static_cast<int>(entry_.offset), static_cast<int>(entry_.length)
    );
    return false;
}

bool bind_operation::begin(detail::run_loop& loop, std::int32_t& result) noexcept {
    entry_.address = detail::address_of(at_.data());
    entry_.offset = at_.size();
    if (detail::knows_opcode(loop, opcode)) {
        return true;
    }
    result = loop.carrier().resources().bind(
        entry_.fd, at_.data(), static_cast<std::uint32_t>(at_.size())
    );
    return false;
}

bool listen_operation::begin(detail::run_loop& loop, std::int32_t& result) const noexcept {
    if (detail::knows_opcode(loop, opcode)) {
        return true;
    }
    result = loop.carrier().resources().listen(entry_.fd, static_cast<int>(entry_.length));
    return false;
}

bool futex_wait_operation::begin(detail::run_loop& loop, std::int32_t& result) const noexcept {
    return detail::begins_if_known(loop, opcode, result);
}

bool futex_wake_operation::begin(detail::run_loop& loop, std::int32_t& result) const noexcept {
    return detail::begins_if_known(loop, opcode, result);
}

bool msg_ring_operation::begin(detail::run_loop& loop, std::int32_t& result) const noexcept {
    return detail::begins_if_known(loop, opcode, result);
}

} // namespace op
} // namespace gyre::inline v0
