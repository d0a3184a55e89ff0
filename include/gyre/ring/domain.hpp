#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gyre::inline v0::detail {

/// What binding to a Unix path shall do about the file.
struct file_wish {
    int mode; ///< Its permissions; -1 leaves them to the umask.
    bool replace_stale;
};

/// The file that a bind has made.
struct made_file {
    std::string path; ///< Absolute.
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    int process = 0; ///< Whose it is to remove.
};
struct counted_message;

/// Where a descriptor lives, and the calls on it that never wait. Each descriptor of gyre refers to
/// the domain that made it, so these calls work inside and outside a scheduler and in destructors.
///
/// Every function answers like its system call, but with a negative errno instead of -1.
class domain {
public:
    virtual int socket(int family, int type, int protocol) noexcept = 0;
    virtual int socketpair(int family, int type, int protocol, int (&fds)[2]) noexcept = 0;
    virtual int bind(int fd, const void* address, std::uint32_t size) noexcept = 0;
    /// bind(2) to a Unix path, with what is wished for its file; fills in `made`.
    virtual int bind_file(
        int fd, const void* address, std::uint32_t size, const file_wish& wish, made_file& made
    ) noexcept = 0;
    /// Removes the file if its path still names it. To be called while its socket is open.
    virtual int remove_file(const made_file& which) noexcept = 0;
    /// Of a socket for datagrams, which never waits; the address may be one of AF_UNSPEC.
    virtual int connect(int fd, const void* address, std::uint32_t size) noexcept = 0;
    virtual int listen(int fd, int backlog) noexcept = 0;
    /// The largest backlog that `listen` grants: net.core.somaxconn.
    virtual int backlog_limit() noexcept = 0;
    virtual int shutdown(int fd, int how) noexcept = 0;
    virtual int close(int fd) noexcept = 0;
    virtual int getsockname(int fd, void* address, std::uint32_t* size) noexcept = 0;
    virtual int getpeername(int fd, void* address, std::uint32_t* size) noexcept = 0;
    virtual int
    getsockopt(int fd, int level, int name, void* value, std::uint32_t* size) noexcept = 0;
    virtual int
    setsockopt(int fd, int level, int name, const void* value, std::uint32_t size) noexcept = 0;

    /// recv(2) with MSG_DONTWAIT added: the count, or -EAGAIN when nothing is there.
    virtual std::int64_t recv_now(int fd, void* buffer, std::size_t size, int flags) noexcept = 0;

    /// A second number for the open file, close-on-exec; fcntl(2), F_DUPFD_CLOEXEC.
    virtual int dup(int fd) noexcept = 0;
    /// Bytes that a receive would find, ioctl(2) FIONREAD; bytes that were sent and are still in
    /// the socket, SIOCOUTQ.
    virtual int bytes_available(int fd) noexcept = 0;
    virtual int bytes_unsent(int fd) noexcept = 0;
    /// Whether the open file is O_NONBLOCK: 0 or 1.
    virtual int is_nonblocking(int fd) noexcept = 0;
    virtual int set_nonblocking(int fd, bool on) noexcept = 0;
    /// The number comes from, or goes to, somebody who opens and closes without a word: whatever
    /// was known of it does not hold any more.
    virtual void handed_over(int fd) noexcept = 0;
    /// recvmmsg(2) and sendmmsg(2) with MSG_DONTWAIT added, the latter with MSG_NOSIGNAL: how many
    /// messages were received or sent, or -EAGAIN when that is none.
    virtual int
    receive_messages_now(int fd, counted_message* messages, unsigned count, int flags) noexcept = 0;
    virtual int
    send_messages_now(int fd, counted_message* messages, unsigned count, int flags) noexcept = 0;

protected:
    ~domain() = default;
};

/// The domain of the real system: one object, alive for the whole program.
domain& kernel_domain() noexcept;

/// Changes with each close of the number `fd` through the domain of the real system, on whatever
/// thread: who remembers something of a number sees by this whether it is still the same open file.
std::uint32_t closes_of(int fd) noexcept;

/// Makes that change: for a close of the number that is left to the kernel's ring.
void count_close(int fd) noexcept;

} // namespace gyre::inline v0::detail
