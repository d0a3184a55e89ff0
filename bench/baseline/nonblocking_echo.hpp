// One turn of an echo on a non-blocking socket: what the servers on epoll and on poll do alike once
// they know that a socket has something to read or room to write.
#pragma once

#include "baseline/server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

namespace baseline {

struct connection {
    std::vector<std::byte> rest; // what the peer has not taken yet; nearly always empty
    std::size_t rest_sent = 0;
    bool hung_up = false; // the kernel has announced the peer's end
};

enum class turn {
    drained, // nothing is left to read
    blocked, // `rest` waits for room
    more,    // there may be more, but others shall have their turn
    over,    // the peer has closed, or failed
};

class nonblocking_echo {
public:
    turn run(int fd, connection& peer) {
        // At most so many buffers: a peer that never pauses must not keep the others waiting.
        constexpr int buffers_max = 16;
        for (int count = 0; count < buffers_max; ++count) {
            if (!peer.rest.empty()) {
                if (auto ended = send_rest(fd, peer); ended != turn::more) {
                    return ended;
                }
            }
            ssize_t received = ::recv(fd, buffer_.data(), buffer_.size(), 0);
            if (received <= 0) {
                bool later = received < 0 && (errno == EAGAIN || errno == EINTR);
                return later ? turn::drained : turn::over;
            }
            auto length = static_cast<std::size_t>(received);
            ssize_t sent = ::send(fd, buffer_.data(), length, MSG_NOSIGNAL);
            if (sent != received) {
                if (sent < 0 && errno != EAGAIN && errno != EINTR) {
                    return turn::over;
                }
                // A short send has filled the socket as EAGAIN would have said; epoll(7) allows to
                // rely on it.
                peer.rest.assign(
                    buffer_.data() + std::max<ssize_t>(sent, 0), buffer_.data() + length
                );
                peer.rest_sent = 0;
                return turn::blocked;
            }
            // Likewise, a short recv has emptied the socket, unless only the end is left to read.
            if (length < buffer_.size() && !peer.hung_up) {
                return turn::drained;
            }
        }
        return turn::more;
    }

private:
    static turn send_rest(int fd, connection& peer) {
        std::size_t length = peer.rest.size() - peer.rest_sent;
        ssize_t sent = ::send(fd, peer.rest.data() + peer.rest_sent, length, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR ? turn::blocked : turn::over;
        }
        peer.rest_sent += static_cast<std::size_t>(sent);
        if (peer.rest_sent < peer.rest.size()) {
            return turn::blocked;
        }
        peer.rest.clear();
        return turn::more;
    }

    // One for all connections: what is received is sent before anything else is.
    std::array<std::byte, buffer_size> buffer_ = {};
};

} // namespace baseline
