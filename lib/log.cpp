#include <gyre/log.hpp>

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string_view>

namespace gyre::inline v0 {
namespace {

std::string_view prefix(log_level level) noexcept {
    switch (level) {
    case log_level::info:
        return "gyre: info: ";
    case log_level::warning:
        return "gyre: warning: ";
    case log_level::error:
        return "gyre: error: ";
    }
    return "gyre: ";
}

iovec piece(std::string_view text) noexcept {
    // writev(2) only reads, but shares its struct with readv(2), which does not.
    return {const_cast<char*>(text.data()), text.size()};
}

void write_to_stderr(log_level level, std::string_view text) noexcept {
    const std::array<iovec, 3> line{piece(prefix(level)), piece(text), piece("\n")};
    // One call a line, so that lines of several threads and processes stay whole; no buffer, so
    // that no length is too long and nothing is allocated. A line that cannot be written is lost:
    // there is nowhere left to say so. The caller may be about to look at errno.
    const int saved_errno = errno;
    while (::writev(STDERR_FILENO, line.data(), static_cast<int>(line.size())) < 0 && errno == EINTR
    ) {
    }
    errno = saved_errno;
}

constinit std::atomic<log_hook> current_hook{&write_to_stderr};

} // namespace

log_hook set_log_hook(log_hook hook) noexcept {
    // Release and acquire: whatever the hook uses was made ready before it was put in place.
    return current_hook.exchange(hook, std::memory_order_acq_rel);
}

void log(log_level level, std::string_view text) noexcept {
    if (const log_hook hook = current_hook.load(std::memory_order_acquire)) {
        hook(level, text);
    }
}

} // namespace gyre::inline v0
