// epoll_echo.cpp: sends every byte back; written by hand on epoll.
//
// Edge-triggered, each connection registered once for both directions: the kernel reports an edge
// of output only to somebody whose send it has cut short, so that no epoll_ctl(2) follows. All
// connections share one buffer; only what a peer does not take at once is kept for it.
//
// Run: epoll_echo --listen 127.0.0.1:7000

#include "baseline/nonblocking_echo.hpp"
#include "baseline/server.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

class echo_server {
public:
    echo_server(int listener, int signals)
        : epoll_(::epoll_create1(EPOLL_CLOEXEC)), listener_(listener), signals_(signals) {
        if (epoll_ < 0) {
            baseline::fail("epoll_create1", errno);
        }
        watch(listener_, EPOLLIN);
        watch(signals_, EPOLLIN);
    }

    echo_server(const echo_server&) = delete;
    echo_server& operator=(const echo_server&) = delete;

    ~echo_server() { ::close(epoll_); }

    void run() {
        std::array<epoll_event, 256> events;
        std::vector<int> unfinished;
        while (!stopping_) {
            int count = ::epoll_wait(
                epoll_, events.data(), static_cast<int>(events.size()), unfinished_.empty() ? -1 : 0
            );
            if (count < 0 && errno != EINTR) {
                baseline::fail("epoll_wait", errno);
            }
            // Those that were not done the last time; no event reports them again.
            unfinished.swap(unfinished_);
            for (int fd : unfinished) {
                at(fd).unfinished = false;
                serve(fd);
            }
            unfinished.clear();
            for (int index = 0; index < count; ++index) {
                handle(events[static_cast<std::size_t>(index)]);
            }
        }
    }

private:
    struct session : baseline::connection {
        bool open = false;
        bool unfinished = false;
    };

    void watch(int fd, std::uint32_t events) const {
        epoll_event wanted = {.events = events, .data = {.fd = fd}};
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted) != 0) {
            baseline::fail("epoll_ctl", errno);
        }
    }

    session& at(int fd) { return sessions_[static_cast<std::size_t>(fd)]; }

    void handle(const epoll_event& event) {
        int fd = event.data.fd;
        if (fd == listener_) {
            accept();
        } else if (fd == signals_) {
            stopping_ = true;
        } else if (session& peer = at(fd); peer.open) {
            peer.hung_up |= (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
            serve(fd);
        }
    }

    void accept() {
        for (;;) {
            int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) {
                if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                    baseline::fail("accept", errno);
                }
                return;
            }
            if (static_cast<std::size_t>(fd) >= sessions_.size()) {
                sessions_.resize(std::max<std::size_t>(static_cast<std::size_t>(fd) * 2, 64));
            }
            at(fd) = {};
            at(fd).open = true;
            watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | static_cast<std::uint32_t>(EPOLLET));
        }
    }

    void serve(int fd) {
        session& peer = at(fd);
        if (!peer.open || peer.unfinished) {
            return;
        }
        switch (echo_.run(fd, peer)) {
        case baseline::turn::drained:
        case baseline::turn::blocked:
            return;
        case baseline::turn::more:
            peer.unfinished = true;
            unfinished_.push_back(fd);
            return;
        case baseline::turn::over:
            peer = {};
            ::close(fd); // which epoll notices
            return;
        }
    }

    int epoll_;
    int listener_;
    int signals_;
    bool stopping_ = false;
    baseline::nonblocking_echo echo_;
    std::vector<session> sessions_; // by descriptor
    std::vector<int> unfinished_;   // open, or closed and perhaps a successor by now
};

} // namespace

int main(int argc, char** argv) {
    baseline::settings chosen = baseline::parse(argc, argv, "epoll");
    int signals = baseline::signals_to_end();
    echo_server server(baseline::listen_on(chosen, SOCK_NONBLOCK), signals);
    server.run();
    return 0;
}
