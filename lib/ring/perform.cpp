#include "ring/perform.hpp"

#include <gyre/ring/domain.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

static_assert(EAGAIN == EWOULDBLOCK);

template <class Pointer>
Pointer pointer_to(std::uint64_t address) noexcept {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a submission carries its pointers as integers.
    return reinterpret_cast<Pointer>(static_cast<std::uintptr_t>(address));
}

std::int64_t or_errno(std::int64_t answer) noexcept {
    return answer < 0 ? -errno : answer;
}

// Repeats a call that a signal interrupts, unless it is one that waits.
template <class Call>
std::int64_t attempt(bool blocking, Call&& call) noexcept {
    for (;;) {
        const std::int64_t answer = or_errno(call());
        if (answer != -EINTR || blocking) {
            return answer;
        }
    }
}

bool is_nonblocking(int fd) noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    return flags < 0 || (flags & O_NONBLOCK) != 0;
}

// O_NONBLOCK for the time of one call. Who shares the open file sees it for that long.
class nonblocking_for_now {
public:
    explicit nonblocking_for_now(int fd) noexcept : fd_(is_nonblocking(fd) ? -1 : fd) {
        if (fd_ >= 0) {
            set_nonblocking(fd_, true);
        }
    }
    ~nonblocking_for_now() {
        if (fd_ >= 0) {
            const int kept = errno;
            set_nonblocking(fd_, false);
            errno = kept;
        }
    }
    nonblocking_for_now(const nonblocking_for_now&) = delete;
    nonblocking_for_now& operator=(const nonblocking_for_now&) = delete;

private:
    int fd_;
};

// Keeps SIGPIPE from this thread: one that the calls meanwhile raise is taken away again, one that
// was pending before stays. A call that has moved something before the other end went raises it too,
// and yields its count, so the result does not tell.
class no_sigpipe {
public:
    no_sigpipe() noexcept {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        sigset_t pending;
        sigpending(&pending);
        was_pending_ = sigismember(&pending, SIGPIPE) == 1;
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    ~no_sigpipe() {
        const int kept = errno;
        if (!was_pending_) {
            const timespec at_once = {};
            while (sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
            }
        }
        if (sigismember(&before_, SIGPIPE) == 0) {
            pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        }
        errno = kept;
    }
    no_sigpipe(const no_sigpipe&) = delete;
    no_sigpipe& operator=(const no_sigpipe&) = delete;

private:
    sigset_t pipe_;
    sigset_t before_;
    bool was_pending_;
};

// Messages and bytes of sockets.

bool sends(const submission& entry) noexcept {
    return entry.opcode == uapi::op_send || entry.opcode == uapi::op_sendmsg;
}

// What of a message's memory is left after `moved` bytes; as many pieces as `pieces` holds, which a
// further try follows. Name and control data go with the first bytes alone.
msghdr rest_of(const msghdr& whole, std::size_t moved, std::span<iovec> pieces) noexcept {
    std::size_t count = 0;
    for (std::size_t index = 0; index < whole.msg_iovlen && count < pieces.size(); ++index) {
        iovec piece = whole.msg_iov[index];
        const std::size_t skipped = std::min(moved, piece.iov_len);
        moved -= skipped;
        piece.iov_base = static_cast<std::byte*>(piece.iov_base) + skipped;
        piece.iov_len -= skipped;
        if (piece.iov_len != 0) {
            pieces[count++] = piece;
        }
    }
    msghdr rest = {};
    rest.msg_iov = pieces.data();
    rest.msg_iovlen = count;
    return rest;
}

std::int64_t transfer_once(const performance& which, int flags) noexcept {
    const submission& entry = which.entry;
    auto* bytes = pointer_to<std::byte*>(entry.address) + which.moved;
    switch (entry.opcode) {
    case uapi::op_recv:
        return ::recv(entry.fd, bytes, entry.length - which.moved, flags);
    case uapi::op_send:
        return ::sendto(
            entry.fd,
            bytes,
            entry.length - which.moved,
            flags,
            pointer_to<const sockaddr*>(entry.offset),
            entry.file_index & 0xffff // addr_len
        );
    default:
        break;
    }
    auto* message = pointer_to<msghdr*>(entry.address);
    std::array<iovec, 64> pieces;
    msghdr rest;
    if (which.moved != 0) {
        rest = rest_of(*message, which.moved, pieces);
        message = &rest;
    }
    return entry.opcode == uapi::op_recvmsg ? ::recvmsg(entry.fd, message, flags)
                                            : ::sendmsg(entry.fd, message, flags);
}

std::size_t size_of_all(const submission& entry) noexcept {
    if (entry.opcode == uapi::op_recv || entry.opcode == uapi::op_send) {
        return entry.length;
    }
    const auto* message = pointer_to<const msghdr*>(entry.address);
    std::size_t size = 0;
    for (std::size_t index = 0; index < message->msg_iovlen; ++index) {
        size += message->msg_iov[index].iov_len;
    }
    return size;
}

// MSG_WAITALL means nothing where a message is taken whole.
bool has_no_messages(int fd) noexcept {
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           (type == SOCK_STREAM || type == SOCK_SEQPACKET);
}

outcome transfer(performance& which, bool blocking) noexcept {
    const submission& entry = which.entry;
    const auto wish = static_cast<int>(entry.operation_flags);
    if ((entry.ioprio & ~uapi::recvsend_poll_first) != 0) {
        return outcome::done(-EINVAL);
    }
    const bool sending = sends(entry);
    // A repeated look at the same bytes does not add up.
    const bool all = (wish & MSG_WAITALL) != 0 && (wish & MSG_PEEK) == 0;
    int flags = sending ? wish | MSG_NOSIGNAL : wish;
    if (sending && !all) {
        blocking = false; // The blocking call would wait for room for the last byte.
    }
    if (!blocking) {
        flags = (flags | MSG_DONTWAIT) & ~MSG_WAITALL;
    }
    for (;;) {
        const std::int64_t answer = attempt(blocking, [&] { return transfer_once(which, flags); });
        if (answer == -EAGAIN && (wish & MSG_DONTWAIT) == 0) {
            const std::uint32_t receiving = (wish & MSG_ERRQUEUE) != 0 ? POLLERR | POLLPRI : POLLIN;
            return outcome::waits_for(entry.fd, sending ? POLLOUT : receiving);
        }
        if (answer == -EINTR) {
            return outcome::done(-EINTR);
        }
        if (answer <= 0) { // What has moved is the result; the error comes with the next one.
            return outcome::done(which.moved != 0 ? which.moved : answer);
        }
        const std::uint32_t before = which.moved;
        which.moved += static_cast<std::uint32_t>(answer);
        if (!all || which.moved >= size_of_all(entry) ||
            (before == 0 && !has_no_messages(entry.fd))) {
            return outcome::done(which.moved);
        }
    }
}

// Connections.

outcome accept(performance& which, bool blocking) noexcept {
    const submission& entry = which.entry;
    constexpr std::uint16_t known = uapi::accept_dontwait | uapi::accept_poll_first;
    if ((entry.ioprio & ~known) != 0 || entry.file_index != 0) {
        return outcome::done(-EINVAL);
    }
    std::optional<nonblocking_for_now> for_now;
    if (!blocking && which.borrowed) {
        for_now.emplace(entry.fd);
    } else if (!blocking && !is_nonblocking(entry.fd)) {
        which.unblocked = set_nonblocking(entry.fd, true) == 0;
    }
    const std::int64_t answer = attempt(blocking, [&] {
        return ::accept4(
            entry.fd,
            pointer_to<sockaddr*>(entry.address),
            pointer_to<socklen_t*>(entry.offset),
            static_cast<int>(entry.operation_flags)
        );
    });
    if (answer == -EAGAIN && (entry.ioprio & uapi::accept_dontwait) == 0) {
        return outcome::waits_for(entry.fd, POLLIN);
    }
    return outcome::done(answer);
}

outcome connect(performance& which, bool blocking) noexcept {
    const submission& entry = which.entry;
    if (!blocking && !which.begun && !is_nonblocking(entry.fd)) {
        which.unblocked = set_nonblocking(entry.fd, true) == 0;
    }
    const int answer = ::connect(
                           entry.fd,
                           pointer_to<const sockaddr*>(entry.address),
                           static_cast<socklen_t>(entry.offset)
                       ) == 0
                           ? 0
                           : errno;
    switch (answer) {
    case EINTR: // It goes on by itself, and asking again joins it.
        which.begun = true;
        return blocking ? outcome::done(-EINTR) : connect(which, blocking);
    case EALREADY:
        if (!which.begun) {
            return outcome::done(-EALREADY); // Another one is under way.
        }
        [[fallthrough]];
    case EINPROGRESS:
        which.begun = true;
        return outcome::waits_for(entry.fd, POLLOUT);
    case EAGAIN: // A Unix domain listener whose backlog is full, of which no readiness tells.
        return outcome::waits_for(entry.fd, 0);
    case EISCONN:
        if (which.begun) {
            int error = 0;
            socklen_t size = sizeof error;
            ::getsockopt(entry.fd, SOL_SOCKET, SO_ERROR, &error, &size);
            return outcome::done(-error);
        }
        [[fallthrough]];
    default:
        return outcome::done(-answer);
    }
}

outcome poll(const performance& which, bool blocking) noexcept {
    const submission& entry = which.entry;
    if (entry.length != 0) { // Multishot, updates.
        return outcome::done(-EINVAL);
    }
    const auto events = static_cast<short>(entry.operation_flags | POLLRDHUP);
    pollfd look = {entry.fd, events, 0};
    const std::int64_t answer =
        attempt(blocking, [&] { return ::poll(&look, 1, blocking ? -1 : 0); });
    if (answer < 0) {
        return outcome::done(answer);
    }
    if (answer == 0) {
        return outcome::waits_for(entry.fd, static_cast<std::uint16_t>(events));
    }
    return outcome::done((look.revents & POLLNVAL) != 0 ? -EBADF : look.revents);
}

// Files and pipes.

// Their readiness says nothing: a call on them takes its time.
bool is_on_disk(int fd) noexcept {
    struct ::stat status;
    return ::fstat(fd, &status) == 0 &&
           (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode));
}

outcome read_or_write(const performance& which, bool blocking) noexcept {
    const submission& entry = which.entry;
    const bool writing = entry.opcode == uapi::op_write || entry.opcode == uapi::op_writev;
    blocking = blocking && !writing; // It would wait for room for the last byte.
    iovec one = {pointer_to<void*>(entry.address), entry.length};
    const iovec* pieces = &one;
    int count = 1;
    if (entry.opcode == uapi::op_readv || entry.opcode == uapi::op_writev) {
        pieces = pointer_to<const iovec*>(entry.address);
        count = static_cast<int>(std::min<std::uint32_t>(entry.length, INT_MAX));
    }
    auto offset = static_cast<off_t>(entry.offset);
    const auto call = [&](int flags) {
        for (;;) {
            const std::int64_t answer = attempt(blocking, [&]() -> std::int64_t {
                if (!writing) {
                    return ::preadv2(entry.fd, pieces, count, offset, flags);
                }
                const no_sigpipe guard;
                return ::pwritev2(entry.fd, pieces, count, offset, flags);
            });
            if (answer != -ESPIPE || offset == -1) {
                return answer;
            }
            offset = -1; // A pipe has no positions, and the ring takes any.
        }
    };
    const auto wish = static_cast<int>(entry.operation_flags);
    std::int64_t answer = -EOPNOTSUPP;
    if (!blocking) {
        answer = call(wish | RWF_NOWAIT);
        if (answer == -EOPNOTSUPP && (wish & RWF_NOWAIT) == 0) {
            const nonblocking_for_now guard(entry.fd);
            answer = call(wish);
        }
    }
    if (blocking || (answer == -EAGAIN && (wish & RWF_NOWAIT) == 0 && is_on_disk(entry.fd))) {
        answer = call(wish);
    }
    if (answer == -EAGAIN && (wish & RWF_NOWAIT) == 0) {
        return outcome::waits_for(entry.fd, writing ? POLLOUT : POLLIN);
    }
    return outcome::done(answer);
}

outcome splice_or_tee(const performance& which) noexcept {
    const submission& entry = which.entry;
    const auto from = static_cast<int>(entry.file_index);
    const int to = entry.fd;
    unsigned flags = entry.operation_flags;
    if ((flags & (1U << 31)) != 0) { // SPLICE_F_FD_IN_FIXED
        return outcome::done(-EINVAL);
    }
    const auto offset_of = [](std::uint64_t value) { return static_cast<loff_t>(value); };
    loff_t read_at = offset_of(entry.address);
    loff_t write_at = offset_of(entry.offset);
    const auto call = [&] {
        return attempt(false, [&]() -> std::int64_t {
            const no_sigpipe guard;
            if (entry.opcode == uapi::op_tee) {
                return ::tee(from, to, entry.length, flags);
            }
            return ::splice(
                from,
                read_at == -1 ? nullptr : &read_at,
                to,
                write_at == -1 ? nullptr : &write_at,
                entry.length,
                flags
            );
        });
    };
    if (from < 0 || to < 0) {
        return outcome::done(-EBADF); // Which poll(2) would leave out.
    }
    // SPLICE_F_NONBLOCK is about the pipe, and a socket at the other end would wait.
    std::array<pollfd, 2> ends = {{{from, POLLIN, 0}, {to, POLLOUT, 0}}};
    ::poll(ends.data(), ends.size(), 0);
    for (const pollfd& end : ends) {
        if (end.revents == 0) {
            return outcome::waits_for(end.fd, static_cast<std::uint32_t>(end.events));
        }
    }
    const nonblocking_for_now source(from);
    const nonblocking_for_now target(to);
    const bool may_fail = (flags & SPLICE_F_NONBLOCK) != 0;
    flags |= SPLICE_F_NONBLOCK;
    const std::int64_t answer = call();
    if (answer == -EAGAIN && !may_fail) {
        return outcome::waits_for(to, 0);
    }
    return outcome::done(answer);
}

std::int64_t open_file(const submission& entry) noexcept {
    if (entry.file_index != 0) {
        return -EINVAL;
    }
    return or_errno(::openat(
        entry.fd,
        pointer_to<const char*>(entry.address),
        static_cast<int>(entry.operation_flags),
        entry.length
    ));
}

// By the bare call: the C library has no openat2.
std::int64_t open_file_within(const submission& entry) noexcept {
    if (entry.file_index != 0) {
        return -EINVAL;
    }
    return or_errno(::syscall(
        SYS_openat2,
        entry.fd,
        pointer_to<const char*>(entry.address),
        pointer_to<const void*>(entry.offset),
        static_cast<std::size_t>(entry.length)
    ));
}

std::int64_t look_at_file(const submission& entry) noexcept {
    return or_errno(::statx(
        entry.fd,
        pointer_to<const char*>(entry.address),
        static_cast<int>(entry.operation_flags),
        entry.length,
        pointer_to<struct ::statx*>(entry.offset)
    ));
}

outcome perform_either(performance& which, bool blocking) noexcept {
    const submission& entry = which.entry;
    // Links, registered files and buffers are refused. IOSQE_ASYNC is a hint.
    if ((entry.flags & ~uapi::sqe_async) != 0 || entry.personality != 0) {
        return outcome::done(-EINVAL);
    }
    switch (entry.opcode) {
    case uapi::op_nop:
        return outcome::done(0);
    case uapi::op_recv:
    case uapi::op_send:
    case uapi::op_recvmsg:
    case uapi::op_sendmsg:
        return transfer(which, blocking);
    case uapi::op_accept:
        return accept(which, blocking);
    case uapi::op_connect:
        return connect(which, blocking);
    case uapi::op_poll_add:
        return poll(which, blocking);
    case uapi::op_read:
    case uapi::op_readv:
    case uapi::op_write:
    case uapi::op_writev:
        return read_or_write(which, blocking);
    case uapi::op_splice:
    case uapi::op_tee:
        return splice_or_tee(which);
    case uapi::op_openat:
        return outcome::done(open_file(entry));
    case uapi::op_openat2:
        return outcome::done(open_file_within(entry));
    case uapi::op_statx:
        return outcome::done(look_at_file(entry));
    case uapi::op_close:
        return outcome::done(entry.file_index != 0 ? -EINVAL : kernel_domain().close(entry.fd));
    case uapi::op_shutdown:
        return outcome::done(kernel_domain().shutdown(entry.fd, static_cast<int>(entry.length)));
    case uapi::op_socket:
        if (entry.file_index != 0) {
            return outcome::done(-EINVAL);
        }
        return outcome::done(or_errno(
            ::socket(entry.fd, static_cast<int>(entry.offset), static_cast<int>(entry.length))
        ));
    case uapi::op_bind:
        return outcome::done(kernel_domain().bind(
            entry.fd,
            pointer_to<const void*>(entry.address),
            static_cast<std::uint32_t>(entry.offset)
        ));
    case uapi::op_listen:
        return outcome::done(kernel_domain().listen(entry.fd, static_cast<int>(entry.length)));
    default:
        return outcome::done(-EINVAL);
    }
}

} // namespace

outcome perform(performance& which) noexcept {
    return perform_either(which, false);
}

outcome perform_blocking(performance& which) noexcept {
    return perform_either(which, true);
}

std::bitset<uapi::opcode_count> performed_opcodes() noexcept {
    std::bitset<uapi::opcode_count> known;
    for (const std::uint8_t opcode :
         {uapi::op_nop,     uapi::op_readv,   uapi::op_writev,   uapi::op_poll_add,
          uapi::op_sendmsg, uapi::op_recvmsg, uapi::op_accept,   uapi::op_async_cancel,
          uapi::op_connect, uapi::op_openat,  uapi::op_close,    uapi::op_statx,
          uapi::op_read,    uapi::op_write,   uapi::op_send,     uapi::op_recv,
          uapi::op_splice,  uapi::op_tee,     uapi::op_shutdown, uapi::op_socket,
          uapi::op_openat2, uapi::op_bind,    uapi::op_listen}) {
        known.set(opcode);
    }
    return known;
}

int set_nonblocking(int fd, bool on) noexcept {
    int value = on ? 1 : 0;
    return ::ioctl(fd, FIONBIO, &value) == 0 ? 0 : -errno;
}

} // namespace gyre::inline v0::detail
