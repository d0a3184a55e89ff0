// poll_echo.cpp: sends every byte back; written by hand on poll(2).
//
// One array of everything that is waited for, handed to the kernel each time, and walked until all
// that is ready was found. A connection whose peer does not read waits for room instead of input.
//
// Run: poll_echo --listen 127.0.0.1:7000

#include "baseline/nonblocking_echo.hpp"
#include "baseline/server.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>
#include <vector>

namespace {

class echo_server {
public:
    echo_server(int listener, int signals) {
        add(listener);
        add(signals);
    }

    void run() {
        while (watched_[1].revents == 0) {
            int count = ::poll(watched_.data(), watched_.size(), -1);
            if (count < 0 && errno != EINTR) {
                baseline::fail("poll", errno);
            }
            bool connecting = watched_[0].revents != 0;
            count -= (connecting ? 1 : 0) + (watched_[1].revents != 0 ? 1 : 0);
            // From the end, so that the last can take the place of one that has gone.
            for (std::size_t index = watched_.size(); count > 0 && index-- > 2;) {
                if (watched_[index].revents != 0) {
                    --count;
                    serve(index);
                }
            }
            if (connecting) {
                accept();
            }
        }
    }

private:
    void add(int fd) {
        watched_.push_back({.fd = fd, .events = POLLIN, .revents = 0});
        peers_.emplace_back();
    }

    void accept() {
        for (;;) {
            int fd = ::accept4(watched_[0].fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) {
                if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                    baseline::fail("accept", errno);
                }
                return;
            }
            add(fd);
        }
    }

    void serve(std::size_t index) {
        pollfd& watched = watched_[index];
        switch (echo_.run(watched.fd, peers_[index])) {
        case baseline::turn::drained:
        case baseline::turn::more: // poll reports it again
            watched.events = POLLIN;
            return;
        case baseline::turn::blocked:
            watched.events = POLLOUT;
            return;
        case baseline::turn::over:
            ::close(watched.fd);
            watched = watched_.back();
            watched_.pop_back();
            std::swap(peers_[index], peers_.back());
            peers_.pop_back();
            return;
        }
    }

    baseline::nonblocking_echo echo_;
    std::vector<pollfd> watched_;             // the listener, the signals, the connections
    std::vector<baseline::connection> peers_; // beside them
};

} // namespace

int main(int argc, char** argv) {
    baseline::settings chosen = baseline::parse(argc, argv, "poll");
    int signals = baseline::signals_to_end();
    echo_server server(baseline::listen_on(chosen, SOCK_NONBLOCK), signals);
    server.run();
    return 0;
}
