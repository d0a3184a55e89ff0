#include "ipc/sides.hpp"

#include "ipc/wires.hpp"
#include "support/histogram.hpp"

#include <gyre/gyre.hpp>
#include <gyre/op.hpp>
#include <gyre/ring/engine.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace bench::ipc {

namespace {

std::uint64_t read_clock(clockid_t which) {
    timespec now = {};
    ::clock_gettime(which, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}
std::uint64_t now() {
    return read_clock(CLOCK_MONOTONIC);
}
std::uint64_t cpu_so_far() {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

// The first byte of a message tells the other side where the stretch begins and ends.
enum class mark : unsigned char { none, begin, last };

constexpr std::size_t acknowledgment_size = size_min;

// The first side's book: which mark the next message has, and what is measured.
class stretch {
public:
    explicit stretch(const turn& chosen)
        : warm_until_(now() + static_cast<std::uint64_t>(chosen.warm_up.count())),
          duration_(static_cast<std::uint64_t>(chosen.duration.count())) {}

    [[nodiscard]] mark next() const { return next_; }

    /// A message is through that was begun at `asked`; false if it was the last one.
    bool through(std::uint64_t asked, std::uint64_t answered) {
        if (next_ == mark::last) {
            return false;
        }
        if (began_ == 0) {
            if (next_ == mark::begin) {
                began_ = asked;
                cpu_began_ = cpu_so_far();
                next_ = mark::none;
            } else if (answered >= warm_until_) {
                next_ = mark::begin;
            }
            return true;
        }
        latencies_.record(answered - asked);
        ++messages_;
        if (answered - began_ >= duration_) {
            finish(answered);
            next_ = mark::last;
        }
        return true;
    }

    /// The stretch ends now.
    void finish(std::uint64_t at) {
        elapsed_ = at - began_;
        cpu_ = cpu_so_far() - cpu_began_;
    }

    [[nodiscard]] measured result() const {
        return {
            .messages = messages_,
            .elapsed = elapsed_,
            .cpu = cpu_,
            .p50 = latencies_.percentile(0.5),
            .p99 = latencies_.percentile(0.99),
        };
    }

private:
    std::uint64_t warm_until_;
    std::uint64_t duration_;
    mark next_ = mark::none;
    std::uint64_t began_ = 0;
    std::uint64_t cpu_began_ = 0;
    std::uint64_t elapsed_ = 0;
    std::uint64_t cpu_ = 0;
    std::uint64_t messages_ = 0;
    histogram latencies_;
};

// The second side's.
class companion {
public:
    /// False after the last message.
    bool take(std::byte first) {
        ++messages_;
        switch (static_cast<mark>(first)) {
        case mark::none:
            return true;
        case mark::begin:
            messages_ = 0;
            cpu_ = cpu_so_far();
            return true;
        case mark::last:
            break;
        }
        cpu_ = cpu_so_far() - cpu_;
        return false;
    }
    [[nodiscard]] measured result() const {
        measured made;
        made.messages = messages_;
        made.cpu = cpu_;
        return made;
    }

private:
    std::uint64_t messages_ = 0;
    std::uint64_t cpu_ = 0;
};

// --- By hand: plain calls that block ---

class plain_line {
public:
    plain_line(const turn& chosen, end mine)
        : mine_(std::move(mine)), is_socket_(kind_of(chosen.over).is_socket) {}

    void send(std::span<const std::byte> message) {
        while (!message.empty()) {
            const ssize_t sent =
                is_socket_ ? ::send(mine_.out(), message.data(), message.size(), MSG_NOSIGNAL)
                           : ::write(mine_.out(), message.data(), message.size());
            if (sent <= 0) {
                fail("send");
            }
            message = message.subspan(static_cast<std::size_t>(sent));
        }
    }
    void receive(std::span<std::byte> message) {
        while (!message.empty()) {
            const ssize_t received = is_socket_
                                         ? ::recv(mine_.in(), message.data(), message.size(), 0)
                                         : ::read(mine_.in(), message.data(), message.size());
            if (received <= 0) {
                fail("recv");
            }
            message = message.subspan(static_cast<std::size_t>(received));
        }
    }

private:
    end mine_;
    bool is_socket_;
};

measured ask_by_hand(const turn& chosen, end mine) {
    plain_line line(chosen, std::move(mine));
    std::vector<std::byte> message(chosen.size);
    stretch book(chosen);
    const bool one_way = chosen.what == pattern::one_way;
    for (bool goes_on = true; goes_on;) {
        message[0] = static_cast<std::byte>(book.next());
        const std::uint64_t asked = now();
        line.send(message);
        if (!one_way) {
            line.receive(message);
        }
        goes_on = book.through(asked, now());
    }
    if (one_way) {
        line.receive(std::span(message).first(acknowledgment_size));
        book.finish(now());
    }
    return book.result();
}

measured answer_by_hand(const turn& chosen, end mine) {
    plain_line line(chosen, std::move(mine));
    std::vector<std::byte> message(chosen.size);
    companion book;
    const bool one_way = chosen.what == pattern::one_way;
    for (bool goes_on = true; goes_on;) {
        line.receive(message);
        goes_on = book.take(message[0]);
        if (!one_way) {
            line.send(message);
        }
    }
    if (one_way) {
        line.send(std::span(message).first(acknowledgment_size));
    }
    return book.result();
}

// --- On gyre ---

// What a program would write for each kind of wire. A socket that keeps messages is a stream here,
// too: send and recv are the same opcodes on it as on one that is called a datagram socket.

class stream_line {
public:
    explicit stream_line(end mine) : stream_(gyre::stream::adopt(mine.release())) {}
    auto send(std::span<const std::byte> message) {
        return gyre::or_throw(gyre::send_all(stream_, message));
    }
    auto receive(std::span<std::byte> message) {
        return gyre::or_throw(gyre::recv_exactly(stream_, message));
    }

private:
    gyre::stream stream_;
};

class message_line {
public:
    explicit message_line(end mine) : stream_(gyre::stream::adopt(mine.release())) {}
    auto send(std::span<const std::byte> message) { return gyre::or_throw(stream_.send(message)); }
    auto receive(std::span<std::byte> message) { return gyre::or_throw(stream_.recv(message)); }

private:
    gyre::stream stream_;
};

class pipe_line {
public:
    explicit pipe_line(end mine) : mine_(std::move(mine)) {}
    gyre::task<std::size_t> send(std::span<const std::byte> message) {
        std::size_t sent = 0;
        while (sent < message.size()) {
            const std::size_t more =
                co_await gyre::or_throw(gyre::op::write(mine_.out(), message.subspan(sent)));
            sent += more;
        }
        co_return sent;
    }
    gyre::task<std::size_t> receive(std::span<std::byte> message) {
        std::size_t received = 0;
        while (received < message.size()) {
            const std::size_t more =
                co_await gyre::or_throw(gyre::op::read(mine_.in(), message.subspan(received)));
            if (more == 0) {
                break;
            }
            received += more;
        }
        co_return received;
    }

private:
    end mine_;
};

void check(std::size_t moved, std::size_t wanted) {
    if (moved != wanted) [[unlikely]] {
        throw std::runtime_error("a message was cut");
    }
}

template <class Line>
gyre::task<measured> ask_on_gyre(const turn& chosen, Line line) {
    std::vector<std::byte> message(chosen.size);
    stretch book(chosen);
    const bool one_way = chosen.what == pattern::one_way;
    for (bool goes_on = true; goes_on;) {
        message[0] = static_cast<std::byte>(book.next());
        const std::uint64_t asked = now();
        const std::size_t sent = co_await line.send(message);
        check(sent, message.size());
        if (!one_way) {
            const std::size_t received = co_await line.receive(message);
            check(received, message.size());
        }
        goes_on = book.through(asked, now());
    }
    if (one_way) {
        const auto reply = std::span(message).first(acknowledgment_size);
        const std::size_t received = co_await line.receive(reply);
        check(received, reply.size());
        book.finish(now());
    }
    co_return book.result();
}

template <class Line>
gyre::task<measured> answer_on_gyre(const turn& chosen, Line line) {
    std::vector<std::byte> message(chosen.size);
    companion book;
    const bool one_way = chosen.what == pattern::one_way;
    for (bool goes_on = true; goes_on;) {
        const std::size_t received = co_await line.receive(message);
        check(received, message.size());
        goes_on = book.take(message[0]);
        if (!one_way) {
            const std::size_t sent = co_await line.send(message);
            check(sent, message.size());
        }
    }
    if (one_way) {
        const auto reply = std::span(message).first(acknowledgment_size);
        const std::size_t sent = co_await line.send(reply);
        check(sent, reply.size());
    }
    co_return book.result();
}

gyre::scheduler_options scheduler_for(const turn& chosen) {
    gyre::scheduler_options options;
    options.engine =
        chosen.how == way::gyre_uring ? gyre::engine_kind::uring : gyre::engine_kind::blocking;
    return options;
}

template <class Line>
measured run_on_gyre(const turn& chosen, end mine, bool asks) {
    const auto body = [&] {
        Line line(std::move(mine));
        return asks ? ask_on_gyre(chosen, std::move(line))
                    : answer_on_gyre(chosen, std::move(line));
    };
    return gyre::run(scheduler_for(chosen), body);
}

measured run_on_gyre(const turn& chosen, end mine, bool asks) {
    const wire_kind& kind = kind_of(chosen.over);
    return !kind.is_socket       ? run_on_gyre<pipe_line>(chosen, std::move(mine), asks)
           : kind.keeps_messages ? run_on_gyre<message_line>(chosen, std::move(mine), asks)
                                 : run_on_gyre<stream_line>(chosen, std::move(mine), asks);
}

} // namespace

measured first_side(const turn& chosen, end mine) {
    return chosen.how == way::by_hand ? ask_by_hand(chosen, std::move(mine))
                                      : run_on_gyre(chosen, std::move(mine), true);
}

measured second_side(const turn& chosen, end mine) {
    return chosen.how == way::by_hand ? answer_by_hand(chosen, std::move(mine))
                                      : run_on_gyre(chosen, std::move(mine), false);
}

} // namespace bench::ipc
