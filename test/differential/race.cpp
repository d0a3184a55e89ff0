#include "differential/race.hpp"

#include "differential/adaptor.hpp"
#include "differential/outcome.hpp"
#include "differential/random.hpp"

#include <gyre/gyre.hpp>
#include <gyre/ring/engine.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace differential {

namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t largest = 256 * 1024;

// Programs.

// Who is slow pauses and asks for little, so that the other one has to wait.
race_step make_step(random& from, verb what, bool plain, bool slow) {
    race_step made;
    made.what = what;
    made.size = from.size(!slow ? largest : sends(what) ? 8 * 1024 : 128 * 1024);
    made.pieces = static_cast<std::uint32_t>(from.next() >> 40);
    if (plain) {
        return made;
    }
    made.soon = from.one_in(4) ? 0 : from.size(500);
    made.pause = slow && from.one_in(sends(what) ? 2 : 4) ? from.size(500) : 0;
    switch (from.below(11)) {
    case 0:
    case 1:
        made.canceled = true;
        break;
    case 2:
    case 3:
    case 4:
        made.stopped = true;
        made.how = wrap::idle;
        break;
    case 5:
    case 6:
    case 7:
        made.how = from.one_in(4) ? wrap::zero_limit : wrap::near_limit;
        break;
    case 8:
        made.how = wrap::last_of_two;
        break;
    default:
        made.how = from.one_of({wrap::none, wrap::none, wrap::far_limit, wrap::first_of_two});
        break;
    }
    return made;
}

race_side make_side(random& from, bool plain, bool slow_sends, bool slow_receives) {
    race_side made;
    const std::uint32_t count = from.between(8, 24);
    for (std::uint32_t index = 0; index < count; ++index) {
        const verb what = from.one_of(
            {verb::send,
             verb::send_gather,
             verb::send_dontwait,
             verb::send_gather_all,
             verb::send_all}
        );
        made.sends.push_back(make_step(from, what, plain, slow_sends));
        const verb other = from.one_of(
            {verb::recv,
             verb::recv_peek,
             verb::recv_waitall,
             verb::recv_dontwait,
             verb::recv_scatter,
             verb::recv_scatter_all,
             verb::recv_exactly}
        );
        // The first one makes progress, so that a round does.
        made.receives.push_back(
            index == 0 ? make_step(from, verb::recv, true, slow_receives)
                       : make_step(from, other, plain, slow_receives)
        );
    }
    return made;
}

// What an operation may end with; an outcome in any other column is a failure.
bool is_legal(const race_step& what, const seen& got, bool in_order, bool own_close) noexcept {
    const bool all = what.what == verb::recv_exactly || what.what == verb::send_all;
    const bool sending = sends(what.what);
    switch (got.how) {
    case ending::full:
        return true;
    case ending::part:
        return !all;
    case ending::end:
        return !all && !sending;
    case ending::again:
        return what.what == verb::recv_dontwait || what.what == verb::send_dontwait;
    case ending::canceled:
        return what.canceled || what.how == wrap::last_of_two || (own_close && !sending);
    case ending::timed_out:
        return what.how == wrap::near_limit || what.how == wrap::zero_limit;
    case ending::stopped:
        return what.stopped;
    case ending::end_of_stream:
        return what.what == verb::recv_exactly;
    case ending::reset:
        return !in_order;
    case ending::pipe:
        return !in_order && sending;
    default:
        return own_close && !sending && got.error == EBADF; // It came too late to be canceled.
    }
}

// Two connected sockets, made by hand: each goes to a scheduler of its own.

struct socket_pair {
    std::array<int, 2> fds = {-1, -1};
};

void set_size(int fd, int option) {
    const int size = 8 * 1024;
    ::setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

socket_pair make_sockets(bool tcp, bool small) {
    socket_pair made;
    if (!tcp) {
        static_cast<void>(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made.fds.data()));
    } else {
        const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (small) {
            set_size(listener, SO_RCVBUF);
        }
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        auto* address = reinterpret_cast<sockaddr*>(&at);
        ::bind(listener, address, size);
        ::listen(listener, 1);
        ::getsockname(listener, address, &size);
        made.fds[0] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (small) {
            set_size(made.fds[0], SO_RCVBUF);
        }
        ::connect(made.fds[0], address, size);
        made.fds[1] = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        ::close(listener);
    }
    if (small) {
        set_size(made.fds[0], SO_SNDBUF);
        set_size(made.fds[1], SO_SNDBUF);
    }
    return made;
}

// One side.

struct side_report {
    std::vector<std::string> problems;
    tally counts;
    std::uint64_t started = 0;
    std::uint64_t ended = 0;
    // By connection.
    std::vector<std::uint64_t> sent;
    std::vector<std::uint64_t> received;
    std::vector<char> saw_end;
};

class racer {
public:
    racer(const race& which, std::size_t side, const std::vector<socket_pair>& sockets)
        : race_(which), side_(side) {
        const std::size_t count = which.connections.size();
        report_.sent.resize(count);
        report_.received.resize(count);
        report_.saw_end.resize(count);
        for (const socket_pair& each : sockets) {
            streams_.push_back(gyre::stream::adopt(each.fds[side]));
        }
    }

    gyre::task<> main() {
        auto body = [this](gyre::scope& in) -> gyre::task<> {
            for (std::size_t index = 0; index < streams_.size(); ++index) {
                const race_side& plan = plan_of(index);
                // Alone, an operation may be a blocking call.
                if (!plan.receives.empty()) {
                    in.spawn([this, index] { return receive_all(index); });
                }
                in.spawn([this, index] { return send_all(index); });
            }
            const auto joined = co_await in.join();
            static_cast<void>(joined);
        };
        co_await gyre::with_scope(body);
        streams_.clear();
        const gyre::scheduler& on = gyre::scheduler::current();
        for (int wait = 0; wait < 1000 && on.operations_in_flight() != 0; ++wait) {
            const auto slept = co_await gyre::sleep_for(1ms);
            static_cast<void>(slept);
        }
        if (on.operations_in_flight() != 0) {
            problem("operations are in flight at the end");
        }
        if (on.counters().stray_completions != 0) {
            problem("an operation completed twice");
        }
        if (on.counters().forced_drains != 0) {
            problem("an operation was left behind");
        }
        if (report_.started != report_.ended) {
            problem("an operation was begun and has not ended");
        }
    }

    side_report& report() noexcept { return report_; }
    void problem(const std::string& text) {
        report_.problems.push_back("side " + std::to_string(side_) + ": " + text);
    }

private:
    const race_side& plan_of(std::size_t index) const {
        return race_.connections[index].sides[side_];
    }
    std::uint64_t key_to(std::size_t index, std::size_t side) const {
        return mixed(race_.seed + index) + side;
    }

    gyre::task<seen>
    attempt(const race_step& next, std::size_t index, std::vector<std::byte>& buffer) {
        gyre::stream& on = streams_[index];
        const std::chrono::microseconds soon(next.soon);
        if (sends(next.what)) {
            return send(on, next.what, buffer, next.pieces, next.how, soon);
        }
        return receive(on, next.what, buffer, next.pieces, next.how, soon);
    }

    gyre::task<seen> one(const race_step& next, std::size_t index, std::vector<std::byte>& buffer) {
        ++report_.started;
        seen got;
        if (!next.canceled && !next.stopped) {
            got = co_await attempt(next, index, buffer);
        } else {
            auto child = [&]() -> gyre::task<> { got = co_await attempt(next, index, buffer); };
            auto body = [&](gyre::scope& in) -> gyre::task<> {
                in.spawn([&child] { return child(); });
                if (next.soon == 0) {
                    co_await gyre::yield();
                } else {
                    const auto slept =
                        co_await gyre::sleep_for(std::chrono::microseconds(next.soon));
                    static_cast<void>(slept);
                }
                if (next.canceled) {
                    in.cancel();
                } else {
                    in.request_stop();
                }
                const auto joined = co_await in.join();
                static_cast<void>(joined);
            };
            co_await gyre::with_scope(body);
        }
        ++report_.ended;
        report_.counts.count(next.what, got.how);
        const race_connection& connection = race_.connections[index];
        if (!is_legal(next, got, connection.ends_in_order(), plan_of(index).closes)) {
            problem(
                std::string(name_of(next.what)) + " " + name_of(next.how) + " ended with " +
                name_of(got.how) + " (" + std::to_string(got.error) + "), " +
                std::to_string(got.bytes) + " bytes"
            );
        }
        co_return got;
    }

    static gyre::task<> pause_before(const race_step& next) {
        if (next.pause != 0) {
            const auto slept = co_await gyre::sleep_for(std::chrono::microseconds(next.pause));
            static_cast<void>(slept);
        }
    }

    static bool is_over(ending how) noexcept {
        return how == ending::reset || how == ending::pipe || how == ending::other ||
               how == ending::not_connected;
    }

    gyre::task<> send_all(std::size_t index) {
        std::uint64_t& sent = report_.sent[index];
        std::vector<std::byte> bytes;
        for (const race_step& next : plan_of(index).sends) {
            co_await pause_before(next);
            bytes.resize(next.size);
            fill(bytes, key_to(index, side_ ^ 1U), sent);
            const seen got = co_await one(next, index, bytes);
            sent += static_cast<std::uint64_t>(got.bytes);
            if (is_over(got.how)) {
                break;
            }
        }
        gyre::stream& here = streams_[index];
        if (plan_of(index).closes) {
            const auto closed = co_await here.close();
            report_.counts.count(verb::close, look_at(closed, 0).how);
            if (!closed) {
                problem("close failed");
            }
        } else {
            const auto ended = here.shutdown(gyre::shutdown_side::send);
            report_.counts.count(verb::shutdown, look_at(ended, 0).how);
            if (!ended && race_.connections[index].ends_in_order()) {
                problem("shutdown failed");
            }
        }
    }

    gyre::task<> receive_all(std::size_t index) {
        const std::vector<race_step>& plan = plan_of(index).receives;
        std::uint64_t& received = report_.received[index];
        std::vector<std::byte> buffer;
        bool waits = false; // Instead of asking again and again.
        for (std::size_t count = 0; streams_[index].is_open(); ++count) {
            const race_step& next = waits ? plan.front() : plan[count % plan.size()];
            co_await pause_before(next);
            if (!streams_[index].is_open()) {
                break;
            }
            buffer.resize(next.size);
            const seen got = co_await one(next, index, buffer);
            const auto moved = static_cast<std::size_t>(got.bytes);
            if (moved > buffer.size()) {
                problem("more bytes than the buffer holds");
                break;
            }
            const std::int64_t wrong =
                first_wrong(std::span(buffer).first(moved), key_to(index, side_), received);
            if (wrong >= 0) {
                problem(
                    std::string(name_of(next.what)) + " " + name_of(next.how) + " of " +
                    std::to_string(moved) + " bytes at " + std::to_string(received) +
                    " of connection " + std::to_string(index) + ": byte " + std::to_string(wrong) +
                    " is wrong"
                );
                // The sender would wait for room for ever.
                static_cast<void>(streams_[index].shutdown(gyre::shutdown_side::both));
                break;
            }
            if (next.what != verb::recv_peek) {
                received += moved;
            }
            waits = got.how == ending::again;
            if (got.how == ending::end || got.how == ending::end_of_stream) {
                report_.saw_end[index] = 1;
                break;
            }
            if (is_over(got.how)) {
                break;
            }
        }
    }

    const race& race_;
    std::size_t side_;
    std::vector<gyre::stream> streams_;
    side_report report_;
};

void run_side(racer& which, gyre::engine_kind engine, std::uint64_t seed) {
    try {
        auto main = [&which] { return which.main(); };
        run_on(engine, seed, main);
    } catch (const std::exception& thrown) {
        which.problem(thrown.what());
    }
}

} // namespace

race make_race(std::uint64_t seed) {
    random from(~seed);
    race made;
    made.seed = seed;
    const bool lone = from.one_in(5); // One operation at a time on each side.
    const std::uint32_t count = lone ? 1 : from.between(1, 3);
    for (std::uint32_t index = 0; index < count; ++index) {
        race_connection connection;
        connection.tcp = from.one_in(2);
        connection.small = from.one_in(2);
        const bool first_is_slow = from.one_in(2);
        const bool second_is_slow = from.one_in(2);
        connection.sides[0] = make_side(from, lone, first_is_slow, !second_is_slow);
        connection.sides[1] = make_side(from, lone, second_is_slow, !first_is_slow);
        if (lone) {
            connection.sides[0].receives.clear();
            connection.sides[1].sends.clear();
        } else if (from.one_in(3)) {
            connection.sides[from.below(2)].closes = true;
        }
        made.connections.push_back(std::move(connection));
    }
    return made;
}

race_report run(const race& which, gyre::engine_kind engine) {
    std::vector<socket_pair> sockets;
    for (const race_connection& each : which.connections) {
        sockets.push_back(make_sockets(each.tcp, each.small));
    }
    racer one(which, 0, sockets);
    racer other(which, 1, sockets);
    std::thread thread([&] { run_side(other, engine, which.seed); });
    run_side(one, engine, which.seed);
    thread.join();

    race_report made;
    std::array<side_report*, 2> sides = {&one.report(), &other.report()};
    for (const side_report* each : sides) {
        made.counts.add(each->counts);
        made.problems.insert(made.problems.end(), each->problems.begin(), each->problems.end());
    }
    for (std::size_t index = 0; index < which.connections.size(); ++index) {
        for (std::size_t from = 0; from < 2; ++from) {
            const race_connection& connection = which.connections[index];
            const std::uint64_t sent = sides[from]->sent[index];
            const std::uint64_t received = sides[from ^ 1U]->received[index];
            if (connection.sides[from ^ 1U].receives.empty()) {
                continue;
            }
            const bool in_order = connection.ends_in_order();
            if (in_order ? sent != received : sent < received) {
                made.problems.push_back(
                    "connection " + std::to_string(index) + ": side " + std::to_string(from) +
                    " sent " + std::to_string(sent) + " bytes, and " + std::to_string(received) +
                    " were received"
                );
            }
            if (in_order && sides[from ^ 1U]->saw_end[index] == 0) {
                made.problems.push_back("connection " + std::to_string(index) + ": no end");
            }
        }
    }
    return made;
}

} // namespace differential
