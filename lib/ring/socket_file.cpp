#include "ring/socket_file.hpp"

#include <gyre/error.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

using file_status = struct ::stat;

constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);

// The path in an address, which may lack its final zero when it is as long as can be.
std::string path_of(const void* address, std::uint32_t size) {
    const std::string_view path(
        static_cast<const char*>(address) + path_offset, size - path_offset
    );
    return std::string(path.substr(0, path.find('\0')));
}

std::string absolute(std::string path) {
    if (path.starts_with('/')) {
        return path;
    }
    char here[PATH_MAX];
    return ::getcwd(here, sizeof here) == nullptr ? path : std::string(here) + '/' + path;
}

// Holds the file `path`, which it makes and removes, against others who want to do the same. It
// does not wait.
class file_lock {
public:
    explicit file_lock(const std::string& path) noexcept : path_(path) {
        for (;;) {
            fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
            if (fd_ < 0) {
                error_ = -errno;
                return;
            }
            if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
                error_ = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
                break;
            }
            file_status mine;
            file_status there;
            if (::fstat(fd_, &mine) == 0 && ::lstat(path.c_str(), &there) == 0 &&
                mine.st_dev == there.st_dev && mine.st_ino == there.st_ino) {
                return;
            }
            ::close(fd_); // Who held it before has removed it meanwhile.
        }
        ::close(fd_);
        fd_ = -1;
    }
    ~file_lock() {
        if (fd_ >= 0) {
            ::unlink(path_.c_str()); // While it is held, or it could be another one's.
            ::close(fd_);
        }
    }
    file_lock(const file_lock&) = delete;
    file_lock& operator=(const file_lock&) = delete;

    int error() const noexcept { return error_; }

private:
    const std::string& path_;
    int fd_ = -1;
    int error_ = 0;
};

int bind_or_errno(int fd, const void* address, std::uint32_t size) noexcept {
    return ::bind(fd, static_cast<const sockaddr*>(address), size) == 0 ? 0 : -errno;
}

// Whether no socket is bound to the name.
//
// A datagram socket asks, whatever the other one is. It is connected, or refused for its type, when
// a socket is bound, listening or not; ECONNREFUSED says that there is none. The server does not see
// it.
result<bool> is_unbound(const void* address, std::uint32_t size) noexcept {
    const int probe = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        return errno_code(errno);
    }
    const bool refused =
        ::connect(probe, static_cast<const sockaddr*>(address), size) != 0 && errno == ECONNREFUSED;
    ::close(probe);
    return refused;
}

// 0, or -ENOENT, or another negative errno.
int look_at(const char* path, file_status& status) noexcept {
    return ::lstat(path, &status) == 0 ? 0 : -errno;
}

bool is_same(const file_status& one, const file_status& other) noexcept {
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino &&
           one.st_ctim.tv_sec == other.st_ctim.tv_sec &&
           one.st_ctim.tv_nsec == other.st_ctim.tv_nsec;
}

// Binds where a file is in the way, and removes it if it is a dead socket's.
//
// - A file that no socket is bound to stays so for ever, but for one moment: bind(2) makes the file
//   first and then binds to it. All the while it locks the directory. So does a bind that finds the
//   file, in vain: what is there before it, and still there afterwards, is not in that moment.
// - Of several that find the same dead file, the one that holds the lock removes it. The others need
//   not wait: it will live, or has found one that does. Without the lock, the second would remove
//   what the first has put in place.
int bind_over_dead(int fd, const void* address, std::uint32_t size, const std::string& path) {
    const std::string lock_path = path + ".lock";
    const file_lock lock(lock_path);
    if (lock.error() != 0) {
        return lock.error();
    }
    constexpr int rounds_max = 64;
    for (int round = 0; round < rounds_max; ++round) {
        file_status before;
        file_status after;
        const int found = look_at(path.c_str(), before);
        const int answer = bind_or_errno(fd, address, size);
        if (answer != -EADDRINUSE) {
            return answer;
        }
        if (found == -ENOENT) {
            continue; // Another one has just come.
        }
        if (found < 0) {
            return found;
        }
        if (!S_ISSOCK(before.st_mode)) {
            return -EADDRINUSE;
        }
        const result<bool> dead = is_unbound(address, size);
        if (!dead) {
            return -dead.error().value();
        }
        if (look_at(path.c_str(), after) != 0 || !is_same(before, after)) {
            continue;
        }
        if (!*dead) {
            return -EADDRINUSE;
        }
        if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
            return -errno;
        }
    }
    return -EADDRINUSE; // They come and go too fast to tell.
}

int try_bind_file(
    int fd, const void* address, std::uint32_t size, const file_wish& wish, made_file& made
) {
    const std::string path = path_of(address, size);
    made.path = absolute(path);
    made.process = ::getpid();
    const bool has_mode = wish.mode >= 0;
    const auto mode = static_cast<mode_t>(wish.mode);
    if (has_mode) {
        if ((mode & ~mode_t{0777}) != 0) {
            return -EINVAL;
        }
        // bind(2) makes the file with the mode of the socket, less the umask: never more.
        if (::fchmod(fd, mode) != 0) {
            return -errno;
        }
    }
    int answer = bind_or_errno(fd, address, size);
    if (answer == -EADDRINUSE && wish.replace_stale) {
        answer = bind_over_dead(fd, address, size, path);
    }
    if (answer < 0) {
        return answer;
    }
    file_status status;
    if (::lstat(path.c_str(), &status) != 0) {
        return -errno;
    }
    made.device = status.st_dev;
    made.inode = status.st_ino;
    if (has_mode && (status.st_mode & mode_t{0777}) != mode &&
        ::fchmodat(AT_FDCWD, path.c_str(), mode, AT_SYMLINK_NOFOLLOW) != 0) {
        const int error = errno;
        remove_file(made);
        return -error;
    }
    return 0;
}

} // namespace

int bind_file(
    int fd, const void* address, std::uint32_t size, const file_wish& wish, made_file& made
) noexcept {
    try {
        return try_bind_file(fd, address, size, wish, made);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
}

// The file is the one that was made if it has the same inode: the socket that is bound to it, and
// still open, holds that.
int remove_file(const made_file& which) noexcept {
    if (which.process != ::getpid()) {
        return -ESRCH; // A process that was forked has the socket too, and its end is not its end.
    }
    file_status status;
    if (::lstat(which.path.c_str(), &status) != 0) {
        return -errno;
    }
    if (status.st_dev != which.device || status.st_ino != which.inode) {
        return -ENOENT;
    }
    return ::unlink(which.path.c_str()) == 0 ? 0 : -errno;
}

} // namespace gyre::inline v0::detail
