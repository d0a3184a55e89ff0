// file_session.hpp: what file_server does on one connection.
#pragma once

#include "http_reply.hpp"
#include "http_request.hpp"

#include <gyre/error.hpp>
#include <gyre/io/buffered_reader.hpp>
#include <gyre/io/send_file.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/op/file.hpp>
#include <gyre/result.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/stop.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/with_timeout.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace samples {

/// What all connections share.
struct file_settings {
    int root = -1; ///< The descriptor of the folder.
    /// How long a client may be silent between requests, within one, and while it takes an answer.
    std::chrono::nanoseconds patience = std::chrono::seconds(30);
};

/// An open file, closed when this goes.
class open_file {
public:
    explicit open_file(int fd) noexcept : fd_(fd) {}
    open_file(open_file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    open_file& operator=(open_file&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~open_file() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    int get() const noexcept { return fd_; }

private:
    int fd_;
};

inline std::string_view content_type_of(std::string_view path) noexcept {
    constexpr std::pair<std::string_view, std::string_view> known[] = {
        {".html", "text/html; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".css", "text/css"},
        {".js", "text/javascript"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".pdf", "application/pdf"},
    };
    for (const auto& [ending, type] : known) {
        if (path.size() >= ending.size() && path.substr(path.size() - ending.size()) == ending) {
            return type;
        }
    }
    return "application/octet-stream";
}

inline gyre::task<gyre::result<void>>
send_status(gyre::stream& peer, int status, const http_request& asked, std::string more = {}) {
    const std::string reply = status_reply(status, asked, more);
    co_await gyre::or_return(gyre::send_all(peer, std::as_bytes(std::span(reply))));
    co_return gyre::result<void>();
}

/// Opens what lies below `root`, and nothing beyond it: the kernel itself refuses "..", absolute
/// paths and links that lead out. A folder stands for its index.html.
///
/// \return  the file, or the status that refuses it.
inline gyre::task<std::pair<open_file, int>> open_below(int root, std::string path) {
    open_how how = {};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK; // A pipe in there must not hold the server.
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    for (int attempt = 0;; ++attempt) {
        const auto opened =
            co_await gyre::op::openat2(root, path.empty() ? "." : path.c_str(), how);
        if (!opened) {
            const int error = opened.error().value();
            if (error == EAGAIN && attempt < 10) {
                continue; // Something was renamed while the kernel looked.
            }
            const bool missing = error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG;
            const bool refused = error == EXDEV || error == ELOOP || error == EACCES;
            co_return std::pair(open_file(-1), missing ? 404 : refused ? 403 : 500);
        }
        open_file file(*opened);
        struct ::stat status;
        if (::fstat(file.get(), &status) != 0) {
            co_return std::pair(open_file(-1), 500);
        }
        if (S_ISREG(status.st_mode)) {
            ::fcntl(file.get(), F_SETFL, O_RDONLY); // Old kernels read it differently otherwise.
            co_return std::pair(std::move(file), 0);
        }
        constexpr std::string_view index = "index.html";
        if (!S_ISDIR(status.st_mode) || path.ends_with(index)) {
            co_return std::pair(open_file(-1), 403);
        }
        if (!path.empty() && path.back() != '/') {
            path += '/';
        }
        path += index;
    }
}

/// Sends a part of a file to a client that may be slow, but not stand still.
inline gyre::task<gyre::result<void>>
send_part(gyre::stream& peer, int file, byte_range part, std::chrono::nanoseconds patience) {
    while (part.length != 0) {
        const auto sent = co_await gyre::with_timeout(
            gyre::send_file(peer, file, part.first, part.length), patience
        );
        if (!sent && (sent.error() != gyre::errc::timed_out || sent.bytes() == 0)) {
            co_return sent.error();
        }
        part.first += sent.bytes();
        part.length -= sent.bytes();
    }
    co_return gyre::result<void>();
}

inline gyre::task<gyre::result<void>>
answer(gyre::stream& peer, const http_request& asked, const file_settings& chosen) {
    const auto opened = co_await open_below(chosen.root, asked.path);
    struct ::stat status = {};
    if (opened.second != 0 || ::fstat(opened.first.get(), &status) != 0) {
        co_await gyre::or_return(send_status(peer, opened.second != 0 ? opened.second : 500, asked)
        );
        co_return gyre::result<void>();
    }
    const int file = opened.first.get();
    const auto size = static_cast<std::uint64_t>(status.st_size);
    const std::string modified = http_date(status.st_mtim.tv_sec);
    const std::string about = "Last-Modified: " + modified + "\r\n";
    if (asked.if_modified_since && status.st_mtim.tv_sec <= *asked.if_modified_since) {
        co_await gyre::or_return(send_status(peer, 304, asked, about));
        co_return gyre::result<void>();
    }
    std::optional<byte_range> wanted;
    if (!asked.head_only && (asked.if_range.empty() || asked.if_range == modified)) {
        wanted = parse_range(asked.range, size);
    }
    if (wanted && wanted->length == 0) {
        const std::string all = "Content-Range: bytes */" + std::to_string(size) + "\r\n";
        co_await gyre::or_return(send_status(peer, 416, asked, all));
        co_return gyre::result<void>();
    }
    const byte_range part = wanted.value_or(byte_range{0, size});
    std::string head = head_of(wanted ? 206 : 200, part.length, asked.keep_alive) + about;
    head += "Accept-Ranges: bytes\r\nContent-Type: ";
    head += content_type_of(asked.path.empty() || asked.path.back() == '/' ? ".html" : asked.path);
    if (wanted) {
        head += "\r\nContent-Range: bytes " + std::to_string(part.first) + '-' +
                std::to_string(part.first + part.length - 1) + '/' + std::to_string(size);
    }
    head += "\r\n\r\n";
    const bool has_body = !asked.head_only && part.length != 0;
    co_await gyre::or_return(gyre::with_timeout(
        gyre::send_all(peer, std::as_bytes(std::span(head)), has_body ? MSG_MORE : 0),
        chosen.patience
    ));
    if (has_body) {
        co_await gyre::or_return(send_part(peer, file, part, chosen.patience));
    }
    co_return gyre::result<void>();
}

/// Answers one request after the other, until the client closes, is silent for too long, or the
/// server wants to end.
inline gyre::task<> serve_files(gyre::stream peer, file_settings chosen) {
    gyre::buffered_reader from(peer, {.buffer_size = 8192});
    for (;;) {
        const auto begun = co_await gyre::with_timeout(gyre::idle(from.peek(1)), chosen.patience);
        if (!begun) {
            break;
        }
        http_request asked;
        const auto read = co_await gyre::with_timeout(read_request(from, asked), chosen.patience);
        if (!read && read.error() != gyre::errc::timed_out) {
            co_return; // Nobody is left to answer.
        }
        const int refused = read ? *read : 408;
        if (refused != 0) {
            asked.keep_alive = false; // Where the next request begins is not known.
            const auto told =
                co_await gyre::with_timeout(send_status(peer, refused, asked), chosen.patience);
            static_cast<void>(told);
            break;
        }
        const auto answered = co_await answer(peer, asked, chosen);
        if (!answered) {
            co_return; // Half an answer must not look like a whole one.
        }
        if (!asked.keep_alive) {
            break;
        }
    }
    const auto finished = co_await peer.finish(std::chrono::seconds(1));
    static_cast<void>(finished); // A client that does not close loses nothing that was its own.
}

} // namespace samples
