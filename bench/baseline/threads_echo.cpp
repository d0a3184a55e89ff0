// threads_echo.cpp: sends every byte back; written by hand, a thread for each connection.
//
// Blocking calls and nothing else: two per message. The stacks are small, since a thousand of them
// are to fit beside each other.
//
// Run: threads_echo --listen 127.0.0.1:7000

#include "baseline/server.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <set>

namespace {

constexpr std::size_t stack_size =
    std::size_t{64} * 1024; // of which pages are taken as they are touched

class echo_server {
public:
    echo_server(int listener, int signals) : listener_(listener), signals_(signals) {
        ::pthread_attr_init(&attributes_);
        ::pthread_attr_setstacksize(&attributes_, stack_size);
        ::pthread_attr_setdetachstate(&attributes_, PTHREAD_CREATE_DETACHED);
    }

    echo_server(const echo_server&) = delete;
    echo_server& operator=(const echo_server&) = delete;

    ~echo_server() { ::pthread_attr_destroy(&attributes_); }

    void run() {
        std::array<pollfd, 2> watched = {{
            {.fd = listener_, .events = POLLIN, .revents = 0},
            {.fd = signals_, .events = POLLIN, .revents = 0},
        }};
        while (watched[1].revents == 0) {
            if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
                baseline::fail("poll", errno);
            }
            // All that have come: the threads there are would let it have the processor seldom.
            while (watched[0].revents != 0 && accept()) {
            }
        }
        end_all();
    }

private:
    struct session {
        echo_server* owner;
        int fd;
    };

    // False when there was none.
    bool accept() {
        int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                baseline::fail("accept", errno);
            }
            return false;
        }
        {
            std::lock_guard lock(mutex_);
            open_.insert(fd);
        }
        auto started = std::make_unique<session>(session{.owner = this, .fd = fd});
        pthread_t thread = {};
        int error = ::pthread_create(&thread, &attributes_, &echo_server::serve, started.get());
        if (error != 0) {
            baseline::fail("pthread_create", error);
        }
        session* handed_over = started.release(); // the thread's own from here on
        static_cast<void>(handed_over);
        return true;
    }

    static void* serve(void* argument) {
        std::unique_ptr<session> self(static_cast<session*>(argument));
        echo(self->fd);
        self->owner->close(self->fd);
        return nullptr;
    }

    static void echo(int fd) {
        std::array<std::byte, baseline::buffer_size> buffer;
        for (;;) {
            ssize_t received = ::recv(fd, buffer.data(), buffer.size(), 0);
            if (received < 0 && errno == EINTR) {
                continue;
            }
            if (received <= 0) {
                return;
            }
            for (ssize_t sent = 0; sent < received;) {
                ssize_t count = ::send(
                    fd,
                    buffer.data() + sent,
                    static_cast<std::size_t>(received - sent),
                    MSG_NOSIGNAL
                );
                if (count < 0 && errno != EINTR) {
                    return;
                }
                sent += count > 0 ? count : 0;
            }
        }
    }

    void close(int fd) {
        std::lock_guard lock(mutex_);
        open_.erase(fd);
        ::close(fd);
        if (open_.empty()) {
            all_closed_.notify_all();
        }
    }

    void end_all() {
        std::unique_lock lock(mutex_);
        for (int fd : open_) {
            ::shutdown(fd, SHUT_RDWR);
        }
        all_closed_.wait(lock, [this] { return open_.empty(); });
    }

    int listener_;
    int signals_;
    pthread_attr_t attributes_ = {};
    std::mutex mutex_; // of what follows
    std::condition_variable all_closed_;
    std::set<int> open_;
};

} // namespace

int main(int argc, char** argv) {
    baseline::settings chosen = baseline::parse(argc, argv, "threads");
    int signals = baseline::signals_to_end();
    // It need not block: a connection that was reset in the meantime leaves nothing to accept.
    echo_server server(baseline::listen_on(chosen, SOCK_NONBLOCK), signals);
    server.run();
    return 0;
}
