#include <gyre/net/sendto.hpp>

#include <gyre/net/ancillary.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <poll.h>

namespace gyre::inline v0::detail {

namespace {

constexpr std::int64_t first_rest = 1'000'000;
constexpr std::int64_t last_rest = 64'000'000;

} // namespace

void message_wait::prepare(submission& entry, int fd) noexcept {
    if (phase_ == phase::polling) {
        entry.opcode = uapi::op_poll_add;
        entry.fd = fd;
        entry.operation_flags = POLLOUT;
        return;
    }
    entry.opcode = uapi::op_timeout;
    entry.fd = -1;
    entry.address = reinterpret_cast<std::uintptr_t>(&time_);
    entry.length = 1;
}

bool message_wait::go_on(std::int32_t result) noexcept {
    switch (phase_) {
    case phase::sending:
        if (!may_wait_) {
            return false;
        }
        retries_ = true;
        if (by_itself_) {
            // Ready and yet no room: others were faster. To poll again at once might spin.
            phase_ = is_connected_ && !polled_ ? phase::polling : phase::resting;
            polled_ = phase_ == phase::polling;
            if (phase_ == phase::resting) {
                time_.nanoseconds = std::clamp(time_.nanoseconds * 2, first_rest, last_rest);
            }
        }
        return true;
    case phase::polling:
        if (result < 0) {
            return false;
        }
        break;
    case phase::resting:
        if (result != -ETIME) {
            return false;
        }
        break;
    }
    phase_ = phase::sending;
    return true;
}

void message_send::prepare_message(submission& entry) noexcept {
    if (!is_list_) {
        piece_ = const_buffer({piece_.data, clamp_length(piece_.size)});
        message_.buffers = &piece_; // The description has come to rest.
    }
    message_.name = to_ != nullptr ? const_cast<void*>(to_->data()) : nullptr;
    message_.name_size = to_ != nullptr ? static_cast<std::uint32_t>(to_->size()) : 0;
    if (control_ != nullptr && control_->size() != 0) {
        message_.control = const_cast<std::byte*>(control_->data());
        message_.control_size = control_->size();
    }
    entry.opcode = uapi::op_sendmsg;
    entry.address = reinterpret_cast<std::uintptr_t>(&message_);
    entry.length = 1;
}

} // namespace gyre::inline v0::detail
