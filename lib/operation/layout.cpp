#include <gyre/operation/buffer.hpp>

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>

namespace gyre::inline v0::detail {

static_assert(sizeof(mutable_buffer) == sizeof(iovec));
static_assert(offsetof(mutable_buffer, data) == offsetof(iovec, iov_base));
static_assert(offsetof(mutable_buffer, size) == offsetof(iovec, iov_len));
static_assert(sizeof(const_buffer) == sizeof(iovec));
static_assert(offsetof(const_buffer, data) == offsetof(iovec, iov_base));
static_assert(offsetof(const_buffer, size) == offsetof(iovec, iov_len));

static_assert(sizeof(message_header) == sizeof(msghdr));
static_assert(offsetof(message_header, name) == offsetof(msghdr, msg_name));
static_assert(offsetof(message_header, name_size) == offsetof(msghdr, msg_namelen));
static_assert(offsetof(message_header, buffers) == offsetof(msghdr, msg_iov));
static_assert(offsetof(message_header, buffer_count) == offsetof(msghdr, msg_iovlen));
static_assert(offsetof(message_header, control) == offsetof(msghdr, msg_control));
static_assert(offsetof(message_header, control_size) == offsetof(msghdr, msg_controllen));
static_assert(offsetof(message_header, flags) == offsetof(msghdr, msg_flags));

static_assert(sizeof(counted_message) == sizeof(mmsghdr));
static_assert(offsetof(counted_message, header) == offsetof(mmsghdr, msg_hdr));
static_assert(offsetof(counted_message, size) == offsetof(mmsghdr, msg_len));

static_assert(message_truncate == MSG_TRUNC);
static_assert(message_dontwait == MSG_DONTWAIT);
static_assert(message_waitall == MSG_WAITALL);
static_assert(message_nosignal == MSG_NOSIGNAL);
static_assert(message_close_on_exec == MSG_CMSG_CLOEXEC);

} // namespace gyre::inline v0::detail
