#include <gyre/net/stream.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/error.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/socket_file.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/with_timeout.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace gyre::inline v0 {

static_assert(static_cast<int>(shutdown_side::receive) == SHUT_RD);
static_assert(static_cast<int>(shutdown_side::send) == SHUT_WR);
static_assert(static_cast<int>(shutdown_side::both) == SHUT_RDWR);
static_assert(SOCK_STREAM == 1);

bool connect_operation::begin(detail::run_loop& loop, std::int32_t& result) noexcept {
    detail::domain& home = loop.carrier().resources();
    const int fd = home.socket(to_.raw_family(), type_, 0);
    if (fd < 0) {
        result = fd;
        return false;
    }
    socket_ = detail::owned_fd(fd, home);

    const int on = 1;
    int answer = 0;
    if (to_.family() != address_family::unix_domain) {
        if (options_.no_delay) {
            answer = home.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        if (answer == 0 && options_.fast_open) {
            answer = home.setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
        }
    }
    if (answer == 0 && options_.from.family() != address_family::unspecified) {
        const endpoint& from = options_.from;
        answer = home.bind(fd, from.data(), static_cast<std::uint32_t>(from.size()));
    }
    if (answer < 0) {
        result = answer;
        return false;
    }
    return true;
}

stream_pair stream::pair() {
    detail::domain& home = detail::current_domain();
    int fds[2];
    const int answer = home.socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
    if (answer < 0) {
        throw_error(errno_code(-answer), "stream::pair");
    }
    return stream_pair(stream(fds[0], home), stream(fds[1], home));
}

stream stream::adopt(int fd) noexcept {
    detail::domain& home = detail::kernel_domain();
    home.handed_over(fd);
    return stream(fd, home);
}

result<stream> stream::try_adopt(int fd) noexcept {
    const int answer = detail::check_socket(detail::kernel_domain(), fd, SOCK_STREAM, false);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return adopt(fd);
}

result<stream> stream::try_adopt(owned_descriptor&& from) noexcept {
    if (!from.is_open()) {
        return errno_code(EBADF);
    }
    detail::domain& home = from.home();
    const int answer = detail::check_socket(home, from.native_handle(), SOCK_STREAM, false);
    if (answer < 0) {
        return errno_code(-answer);
    }
    return stream(from.release(), home);
}

result<stream> stream::dup() const noexcept {
    const int fd = dup_number();
    if (fd < 0) {
        return errno_code(-fd);
    }
    return stream(fd, *domain_);
}

result<std::size_t> stream::try_recv(std::span<std::byte> buffer, int flags) noexcept {
    GYRE_ASSERT(!buffer.empty(), "try_recv needs room for at least one byte");
    if (socket_.fd < 0) {
        return errno_code(EBADF);
    }
    const std::int64_t count = domain_->recv_now(socket_.fd, buffer.data(), buffer.size(), flags);
    if (count < 0) {
        return errno_code(static_cast<int>(-count));
    }
    return static_cast<std::size_t>(count);
}

result<void> stream::shutdown(shutdown_side side) noexcept {
    return shutdown_now(static_cast<int>(side));
}

namespace {

task<result<void>> discard_until_end(stream& from) {
    std::array<std::byte, 4096> discarded;
    for (;;) {
        const auto received = co_await from.recv(discarded);
        if (!received) {
            co_return received.error();
        }
        if (*received == 0) {
            co_return result<void>();
        }
    }
}

} // namespace

task<result<void>> stream::finish(std::chrono::nanoseconds limit) {
    result<void> ended = shutdown(shutdown_side::send);
    if (ended) {
        ended = co_await with_timeout(discard_until_end(*this), limit);
    }
    const result<void> closed = co_await close();
    co_return ended ? closed : ended;
}

result<tcp_information> stream::tcp_info() const noexcept {
    ::tcp_info raw{};
    const result<void> got = raw_option(IPPROTO_TCP, TCP_INFO, &raw, sizeof raw);
    if (!got) {
        return got.error();
    }
    tcp_information told;
    told.state = raw.tcpi_state;
    told.retransmits = raw.tcpi_retransmits;
    told.round_trip = std::chrono::microseconds(raw.tcpi_rtt);
    told.round_trip_variance = std::chrono::microseconds(raw.tcpi_rttvar);
    told.send_segment_size = raw.tcpi_snd_mss;
    told.receive_segment_size = raw.tcpi_rcv_mss;
    told.unacknowledged = raw.tcpi_unacked;
    told.lost = raw.tcpi_lost;
    told.congestion_window = raw.tcpi_snd_cwnd;
    told.total_retransmits = raw.tcpi_total_retrans;
    return told;
}

void close_description::begin() noexcept {
    closing_ = descriptor_->socket_;
    if (file_ != nullptr) {
        file_->remove();
    }
    descriptor_->socket_.fd = -1;
    if (closing_.fd >= 0) {
        detail::run_loop* loop = detail::run_loop::current();
        loop->cancel(closing_.receiving);
        loop->cancel(closing_.sending);
    }
}

bool close_description::try_close(int& error) noexcept {
    if (closing_.fd < 0) {
        error = EBADF;
        return true;
    }
    // Another id, or none: that operation has ended, and whatever began since has no descriptor.
    const detail::socket_state& now = descriptor_->socket_;
    if ((closing_.receiving != 0 && now.receiving == closing_.receiving) ||
        (closing_.sending != 0 && now.sending == closing_.sending)) {
        return false;
    }
    error = -detail::close_fd(*descriptor_->domain_, std::exchange(closing_.fd, -1));
    return true;
}

close_description::~close_description() {
    if (closing_.fd >= 0) { // Its task was destroyed while it waited.
        detail::close_fd(*descriptor_->domain_, closing_.fd);
    }
}

} // namespace gyre::inline v0
