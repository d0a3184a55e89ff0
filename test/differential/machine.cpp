#include "differential/machine.hpp"

#include "differential/adaptor.hpp"
#include "differential/outcome.hpp"
#include "differential/program.hpp"
#include "differential/random.hpp"
#include "differential/watchdog.hpp"

#include <gyre/gyre.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/counters.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace differential {

namespace {

using namespace std::chrono_literals;

constexpr auto soon = 100us;
constexpr auto settling_limit = 10s;
constexpr int small_buffer = 16 * 1024;

// One end of a connection, and what is known of it.
struct side {
    std::optional<gyre::stream> socket;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    bool ended = false;
    bool deaf = false;
    bool reset = false;

    bool open() const noexcept { return socket.has_value(); }
    int fd() const noexcept { return socket->native_handle(); }
};

struct connection {
    std::array<side, 2> sides;
    bool tcp = false;
    std::uint64_t key = 0;

    // Of the bytes that `of` receives.
    std::uint64_t key_to(std::size_t of) const noexcept { return key + of; }
};

struct pipe_ends {
    pipe_ends() { made = ::pipe2(fds.data(), O_CLOEXEC) == 0; }
    ~pipe_ends() {
        close(0);
        close(1);
    }
    pipe_ends(const pipe_ends&) = delete;
    pipe_ends& operator=(const pipe_ends&) = delete;
    void close(std::size_t index) {
        if (fds[index] >= 0) {
            ::close(std::exchange(fds[index], -1));
        }
    }
    // Until there is no room.
    void fill_up() const {
        std::array<std::byte, 4096> page = {};
        ::fcntl(fds[1], F_SETFL, O_NONBLOCK);
        while (::write(fds[1], page.data(), page.size()) > 0) {
        }
        ::fcntl(fds[1], F_SETFL, 0);
    }
    void empty() const {
        std::array<std::byte, 4096> page;
        ::fcntl(fds[0], F_SETFL, O_NONBLOCK);
        while (::read(fds[0], page.data(), page.size()) > 0) {
        }
        ::fcntl(fds[0], F_SETFL, 0);
    }

    std::array<int, 2> fds = {-1, -1};
    bool made = false;
};

// A TCP port at which nobody listens, and which nobody else can get meanwhile.
struct bound_port {
    bound_port() : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        auto* address = reinterpret_cast<sockaddr*>(&at);
        ::bind(fd, address, size);
        ::getsockname(fd, address, &size);
        port = ntohs(at.sin_port);
    }
    ~bound_port() { ::close(fd); }
    bound_port(const bound_port&) = delete;
    bound_port& operator=(const bound_port&) = delete;

    int fd;
    std::uint16_t port = 0;
};

int unread_of(int fd) noexcept {
    int count = 0;
    return ::ioctl(fd, FIONREAD, &count) == 0 ? count : -1;
}

bool polls(int fd, int events) noexcept {
    pollfd look = {fd, static_cast<short>(events), 0};
    return ::poll(&look, 1, 0) == 1 && (look.revents & events) != 0;
}

void set_size(int fd, int option, int size) noexcept {
    ::setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

class machine {
public:
    machine(const program& which, trace& into) noexcept : program_(which), trace_(into) {}

    gyre::task<> main() {
        for (; index_ < program_.steps.size() && trace_.problems.empty(); ++index_) {
            const step& next = program_.steps[index_];
            watchdog::note("  at step " + std::to_string(index_) + ": " + text_of(next) + "\n");
            settle();
            co_await carry_out(next);
        }
        for (connection& each : connections_) {
            each.sides[0].socket.reset();
            each.sides[1].socket.reset();
        }
    }

private:
    // What has come of it.

    void problem(const std::string& text) {
        trace_.problems.push_back("step " + std::to_string(index_) + ": " + text);
    }
    void note(verb what, const seen& got, std::uint64_t position = 0, bool exact = true) {
        record made;
        made.step = static_cast<std::uint32_t>(index_);
        made.what = what;
        made.how = got.how;
        made.error = got.error;
        made.bytes = exact ? got.bytes : -1;
        made.position = exact ? position : 0;
        trace_.records.push_back(made);
        trace_.counts.count(what, got.how);
    }
    void note(verb what, const gyre::result<void>& got) { note(what, look_at(got, 0)); }

    void note_sent(verb what, const seen& got, side& by, bool exact = true) {
        note(what, got, by.sent, exact);
        by.sent += static_cast<std::uint64_t>(got.bytes);
    }
    void note_received(
        verb what,
        const seen& got,
        connection& on,
        std::size_t by,
        std::span<const std::byte> buffer,
        bool exact = true
    ) {
        side& here = on.sides[by];
        note(what, got, here.received, exact);
        const auto count = static_cast<std::size_t>(got.bytes);
        if (count > buffer.size()) {
            return problem("more bytes than the buffer holds");
        }
        const std::int64_t wrong = first_wrong(buffer.first(count), on.key_to(by), here.received);
        if (wrong >= 0) {
            problem(
                std::string(name_of(what)) + " of " + std::to_string(count) + " bytes: byte " +
                std::to_string(wrong) + ", " +
                std::to_string(here.received + static_cast<std::uint64_t>(wrong)) +
                " of its stream, is wrong"
            );
        }
        if (what != verb::recv_peek) {
            here.received += count;
        }
    }

    std::vector<std::byte> bytes_from(const connection& on, std::size_t side, std::size_t count) {
        std::vector<std::byte> bytes(count);
        fill(bytes, on.key_to(side ^ 1U), on.sides[side].sent);
        return bytes;
    }

    // TCP takes its time, even over loopback. Each step finds what those before it have done.

    template <class Condition>
    void settle_until(Condition&& arrived, const char* what) {
        const auto start = std::chrono::steady_clock::now();
        while (!arrived()) {
            if (std::chrono::steady_clock::now() - start > settling_limit) {
                return problem(std::string("never arrives: ") + what);
            }
            ::sched_yield();
        }
    }
    void settle() {
        for (connection& each : connections_) {
            settle(each, 0);
            settle(each, 1);
        }
    }
    void settle(const connection& on, std::size_t by) {
        const side& here = on.sides[by];
        const side& there = on.sides[by ^ 1U];
        if (!here.open()) {
            return;
        }
        if (here.reset) {
            return settle_until([&] { return polls(here.fd(), POLLHUP | POLLERR); }, "a reset");
        }
        const auto unread = static_cast<int>(there.sent - here.received);
        if (there.open()) {
            settle_until([&] { return unread_of(here.fd()) == unread; }, "the bytes");
        }
        if (there.ended || !there.open()) {
            settle_until([&] { return polls(here.fd(), POLLRDHUP); }, "an end");
        }
    }

    // Until the operation that was spawned has reached the engine, and the engine has taken what
    // there was for it.
    gyre::task<> let_wait(const bool& done, int fd = -1) {
        for (int turn = 0; turn < 4; ++turn) {
            co_await gyre::yield();
        }
        const auto start = std::chrono::steady_clock::now();
        while (fd >= 0 && unread_of(fd) > 0 && !done) {
            if (std::chrono::steady_clock::now() - start > settling_limit) {
                problem("what is there is not received");
                co_return;
            }
            co_await gyre::yield();
        }
    }

    // Runs `operation`, a callable that yields a task<seen>, beside `ends_it(scope)`, and yields
    // its outcome. `ends_it` begins when the operation waits, on `fd` if it takes bytes from there.
    template <class Operation, class Ender>
    gyre::task<seen> beside(Operation& operation, Ender& ends_it, bool waits = true, int fd = -1) {
        seen got;
        bool done = false;
        auto child = [&]() -> gyre::task<> {
            got = co_await operation();
            done = true;
        };
        auto body = [&](gyre::scope& in) -> gyre::task<> {
            in.spawn([&child]() -> gyre::task<> { return child(); });
            if (waits) {
                co_await let_wait(done, fd);
                if (done) {
                    problem(
                        std::string("did not wait: ") + name_of(got.how) + " (" +
                        std::to_string(got.error) + "), " + std::to_string(got.bytes) + " bytes"
                    );
                }
            }
            co_await ends_it(in);
            const auto joined = co_await in.join();
            static_cast<void>(joined);
        };
        co_await gyre::with_scope(body);
        co_return got;
    }

    // The enders that need no more than the scope.
    static void end_in(gyre::scope& in, ender by) {
        if (by == ender::cancel) {
            in.cancel();
        } else if (by == ender::stop) {
            in.request_stop();
        }
    }
    static bool is_timed(ender by) noexcept { return by == ender::limit || by == ender::loses; }

    // The steps.

    gyre::task<> carry_out(const step& which) {
        switch (which.what) {
        case action::open_unix:
        case action::open_tcp:
            return open(which);
        case action::send:
            return send_one(which);
        case action::receive:
            return receive_one(which);
        case action::wait:
            return wait(which);
        case action::transfer:
            return transfer(which);
        case action::squeeze:
            return squeeze(which);
        case action::refused:
            return refused(which);
        case action::race_two:
            return race_two(which);
        case action::shutdown:
            return shutdown(which);
        case action::close:
            return close(which);
        case action::finish:
            return finish(which);
        case action::accept:
            return accept(which);
        case action::connect:
            return connect(which);
        case action::read:
            return read(which);
        case action::write:
            return write(which);
        case action::poll:
            return poll(which);
        case action::sleep:
            return sleep(which);
        case action::reset:
            break;
        }
        return reset(which);
    }

    connection& at(const step& which) { return connections_[which.connection]; }

    gyre::task<> open(const step& which) {
        connection& made = at(which);
        made.sides[0].socket.reset();
        made.sides[1].socket.reset();
        made = {};
        made.key = mixed(program_.seed + index_);
        made.tcp = which.what == action::open_tcp;
        if (made.tcp) {
            co_await open_tcp(made, which.other == 0, 0);
        } else {
            open_unix(made, 0);
        }
    }
    static void open_unix(connection& made, int buffer_size) {
        auto pair = gyre::stream::pair();
        made.sides[0].socket.emplace(std::move(pair.first));
        made.sides[1].socket.emplace(std::move(pair.second));
        if (buffer_size != 0) {
            set_size(made.sides[0].fd(), SO_SNDBUF, buffer_size);
        }
    }
    gyre::task<> open_tcp(connection& made, bool accept_first, int buffer_size) {
        auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
        if (buffer_size != 0) {
            set_size(listener.native_handle(), SO_RCVBUF, buffer_size);
        }
        const gyre::endpoint to = listener.local_endpoint().value();
        seen accepted;
        seen connected;
        if (accept_first) {
            auto accepts = [&]() -> gyre::task<seen> {
                return awaited(wrap::none, listener.accept(), 0, soon);
            };
            auto connects = [&](gyre::scope&) -> gyre::task<> {
                connected = co_await awaited(wrap::none, gyre::stream::connect(to), 0, soon);
            };
            accepted = co_await beside(accepts, connects);
        } else {
            connected = co_await awaited(wrap::none, gyre::stream::connect(to), 0, soon);
            accepted = co_await awaited(wrap::none, listener.accept(), 0, soon);
        }
        // Some other program may have tried this very port.
        while (accepted.socket && connected.socket) {
            const auto peer = accepted.socket->peer_endpoint();
            if (peer && *peer == connected.socket->local_endpoint().value()) {
                break;
            }
            accepted = co_await awaited(wrap::none, listener.accept(), 0, soon);
        }
        note(verb::connect, connected);
        note(verb::accept, accepted);
        made.sides[0].socket = std::move(connected.socket);
        made.sides[1].socket = std::move(accepted.socket);
        if (!made.sides[0].open() || !made.sides[1].open()) {
            problem("no connection");
        } else if (buffer_size != 0) {
            set_size(made.sides[0].fd(), SO_SNDBUF, buffer_size);
        }
    }

    gyre::task<> send_one(const step& which) {
        connection& on = at(which);
        side& here = on.sides[which.side];
        side& there = on.sides[which.side ^ 1U];
        const std::vector<std::byte> bytes = bytes_from(on, which.side, which.size);
        const seen got =
            co_await send(*here.socket, which.with, bytes, which.pieces, which.how, soon);
        note_sent(which.with, got, here);
        if (on.tcp && got.bytes != 0) {
            if (!there.open()) {
                here.reset = true;
            } else if (there.deaf && there.ended) {
                here.reset = there.reset = true;
            }
        }
    }

    gyre::task<> receive_one(const step& which) {
        connection& on = at(which);
        std::vector<std::byte> buffer(which.size);
        const seen got = co_await receive(
            *on.sides[which.side].socket, which.with, buffer, which.pieces, which.how, soon
        );
        note_received(which.with, got, on, which.side, buffer);
    }

    gyre::task<> wait(const step& which) {
        connection& on = at(which);
        side& here = on.sides[which.side];
        side& there = on.sides[which.side ^ 1U];
        const std::size_t peer = which.side ^ 1U;
        std::vector<std::byte> buffer(which.size);
        seen sent;
        seen closed;
        auto receives = [&]() -> gyre::task<seen> {
            return receive(*here.socket, which.with, buffer, which.pieces, which.how, soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            switch (which.by) {
            case ender::data: {
                const std::vector<std::byte> bytes = bytes_from(on, peer, which.second_size);
                // Those that want all get it in two pieces.
                const bool two = receives_all(which.with);
                const std::size_t first = two ? bytes.size() / 2 : 0;
                if (first != 0) {
                    const auto one = co_await there.socket->send(std::span(bytes).first(first));
                    sent = look_at(one, first);
                    for (int turn = 0; turn < 2; ++turn) {
                        co_await gyre::yield();
                    }
                    note_sent(verb::send, sent, there);
                }
                const auto rest = std::span(bytes).subspan(first);
                const auto one = co_await there.socket->send(rest);
                sent = look_at(one, rest.size());
                note_sent(verb::send, sent, there);
                break;
            }
            case ender::peer_end:
                note(verb::shutdown, there.socket->shutdown(gyre::shutdown_side::send));
                there.ended = true;
                break;
            case ender::peer_close:
                here.reset = unread_of(there.fd()) > 0;
                closed = co_await awaited(wrap::none, there.socket->close(), 0, soon);
                there.socket.reset();
                note(verb::close, closed);
                break;
            case ender::own_shutdown: {
                const bool both = (which.pieces & 1U) != 0;
                note(
                    verb::shutdown,
                    here.socket->shutdown(
                        both ? gyre::shutdown_side::both : gyre::shutdown_side::receive
                    )
                );
                here.deaf = true;
                here.ended = here.ended || both;
                break;
            }
            case ender::own_close:
                closed = co_await awaited(wrap::none, here.socket->close(), 0, soon);
                note(verb::close, closed);
                break;
            default:
                end_in(in, which.by);
                break;
            }
        };
        const bool all = receives_all(which.with);
        const seen got =
            co_await beside(receives, ends_it, !is_timed(which.by), all ? here.fd() : -1);
        note_received(which.with, got, on, which.side, buffer);
        if (which.by == ender::own_close) {
            here.socket.reset();
        }
    }

    // Receives `count` bytes by what `with` says.
    gyre::task<> receive_all(
        connection& on,
        std::size_t by,
        std::size_t count,
        verb with,
        wrap how,
        seen& total,
        std::vector<std::byte>& buffer
    ) {
        buffer.resize(count);
        gyre::stream& from = *on.sides[by].socket;
        if (with != verb::recv) {
            total = co_await receive(from, with, buffer, 0, how, soon);
            co_return;
        }
        std::size_t received = 0;
        random sizes(program_.seed + index_);
        while (received < count) {
            const std::size_t wanted =
                std::min<std::size_t>(count - received, 4096 + sizes.below(60'000));
            seen got = co_await receive(
                from, with, std::span(buffer).subspan(received, wanted), 0, how, soon
            );
            if (got.bytes <= 0) {
                total = std::move(got);
                total.bytes = static_cast<std::int64_t>(received);
                co_return;
            }
            received += static_cast<std::size_t>(got.bytes);
        }
        total = seen(ending::full, static_cast<std::int64_t>(count));
    }

    gyre::task<> transfer(const step& which) {
        connection& on = at(which);
        std::array<std::size_t, 2> sizes = {which.size, which.second_size};
        std::array<std::vector<std::byte>, 2> bytes;
        std::array<std::vector<std::byte>, 2> buffers;
        std::array<seen, 2> sent;
        std::array<seen, 2> received;
        auto sends = [&](std::size_t direction) -> gyre::task<> {
            const std::size_t from = which.side ^ direction;
            bytes[direction] = bytes_from(on, from, sizes[direction]);
            sent[direction] = co_await send(
                *on.sides[from].socket, verb::send_all, bytes[direction], 0, which.how, soon
            );
        };
        auto receives = [&](std::size_t direction) -> gyre::task<> {
            return receive_all(
                on,
                which.side ^ direction ^ 1U,
                sizes[direction],
                which.with,
                which.how,
                received[direction],
                buffers[direction]
            );
        };
        if (which.second_size == 0) {
            co_await gyre::when_all(sends(0), receives(0));
        } else {
            co_await gyre::when_all(receives(1), sends(0), sends(1), receives(0));
        }
        for (std::size_t direction = 0; direction < (which.second_size == 0 ? 1U : 2U);
             ++direction) {
            const std::size_t from = which.side ^ direction;
            note_sent(verb::send_all, sent[direction], on.sides[from]);
            note_received(which.with, received[direction], on, from ^ 1U, buffers[direction]);
        }
    }

    gyre::task<> squeeze(const step& which) {
        connection own;
        own.key = mixed(~(program_.seed + index_));
        own.tcp = which.other != 0;
        if (own.tcp) {
            co_await open_tcp(own, false, small_buffer);
        } else {
            open_unix(own, small_buffer);
        }
        side& here = own.sides[0];
        side& there = own.sides[1];
        seen got;
        const bool all = which.with == verb::send_all || which.with == verb::send_gather_all;
        if (!all && which.by != ender::nothing) {
            std::uint64_t before = here.sent;
            do { // A socket without room stays so: nobody reads.
                const std::vector<std::byte> page = bytes_from(own, 0, 4096);
                got = co_await send(*here.socket, verb::send_dontwait, page, 0, wrap::none, soon);
                here.sent += static_cast<std::uint64_t>(got.bytes);
            } while (got.bytes > 0);
            note(verb::send_dontwait, got, before);
        }
        const std::vector<std::byte> bytes = bytes_from(own, 0, which.size);
        seen other;
        std::vector<std::byte> drained;
        auto sending = [&]() -> gyre::task<seen> {
            return send(*here.socket, which.with, bytes, which.pieces, which.how, soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            switch (which.by) {
            case ender::data:
                if (all) {
                    co_await receive_all(
                        own, 1, which.size, verb::recv, wrap::none, other, drained
                    );
                } else { // At once, so that it then finds all the room that there can be.
                    drained.resize(here.sent);
                    const ssize_t count =
                        ::recv(there.fd(), drained.data(), drained.size(), MSG_DONTWAIT);
                    other = look_at(
                        gyre::result<std::size_t>(
                            static_cast<std::size_t>(std::max(count, ssize_t{0}))
                        ),
                        drained.size()
                    );
                }
                note_received(verb::recv, other, own, 1, drained);
                break;
            case ender::peer_close:
                other = co_await awaited(wrap::none, there.socket->close(), 0, soon);
                there.socket.reset();
                note(verb::close, other);
                break;
            case ender::own_shutdown:
                note(verb::shutdown, here.socket->shutdown(gyre::shutdown_side::send));
                here.ended = true;
                break;
            case ender::own_close:
                other = co_await awaited(wrap::none, here.socket->close(), 0, soon);
                note(verb::close, other);
                break;
            default:
                end_in(in, which.by);
                break;
            }
        };
        if (which.by == ender::nothing) {
            got = co_await sending();
        } else {
            got = co_await beside(sending, ends_it, !is_timed(which.by));
        }
        // How much a socket takes is the kernel's, and changes with the time that TCP has.
        note_sent(which.with, got, here, got.how == ending::full && got.bytes == which.size);
        if (which.by == ender::own_close) {
            here.socket.reset();
        }
        // What was reported is there, and no more.
        if (there.open()) {
            std::vector<std::byte> rest;
            const std::size_t left = here.sent - there.received;
            if (left != 0) {
                co_await receive_all(own, 1, left, verb::recv_exactly, wrap::none, other, rest);
                note_received(verb::recv_exactly, other, own, 1, rest, false);
            }
            if (here.open()) {
                settle_until(
                    [&] {
                        int waiting = 0;
                        return !own.tcp ||
                               (::ioctl(here.fd(), SIOCOUTQ, &waiting) == 0 && waiting == 0);
                    },
                    "the last byte"
                );
            }
            std::array<std::byte, 64> more;
            const bool over = here.ended || !here.open();
            other = co_await receive(
                *there.socket, over ? verb::recv : verb::recv_dontwait, more, 0, wrap::none, soon
            );
            note(over ? verb::recv : verb::recv_dontwait, other);
        }
    }

    static gyre::task<seen>
    either(gyre::stream& on, const step& which, std::vector<std::byte>& buffer) {
        if (sends(which.with)) {
            return send(on, which.with, buffer, which.pieces, which.how, soon);
        }
        return receive(on, which.with, buffer, which.pieces, which.how, soon);
    }

    gyre::task<> refused(const step& which) {
        side& here = at(which).sides[which.side];
        std::vector<std::byte> buffer(which.size);
        seen got;
        auto body = [&](gyre::scope& in) -> gyre::task<> {
            in.cancel();
            got = co_await either(*here.socket, which, buffer);
        };
        co_await gyre::with_scope(body);
        note(which.with, got);
    }

    gyre::task<> race_two(const step& which) {
        connection& silent = at(which);
        connection& ready = connections_[which.other];
        std::vector<std::byte> nothing(which.size);
        std::vector<std::byte> buffer(which.size);
        auto got = co_await gyre::when_any(
            silent.sides[which.side].socket->recv(nothing),
            ready.sides[which.side].socket->recv(buffer)
        );
        if (got.index != 1) {
            problem("when_any: the receive without data was first");
        }
        note(verb::recv, look_at(std::get<0>(got.outcomes), which.size));
        note_received(
            verb::recv, look_at(std::get<1>(got.outcomes), which.size), ready, which.side, buffer
        );
    }

    gyre::task<> shutdown(const step& which) {
        side& here = at(which).sides[which.side];
        note(verb::shutdown, here.socket->shutdown(static_cast<gyre::shutdown_side>(which.other)));
        here.deaf = here.deaf || which.other != 1;
        here.ended = here.ended || which.other != 0;
        co_return;
    }

    gyre::task<> close(const step& which) {
        connection& on = at(which);
        side& here = on.sides[which.side];
        on.sides[which.side ^ 1U].reset |= unread_of(here.fd()) > 0;
        const seen got = co_await awaited(wrap::none, here.socket->close(), 0, soon);
        here.socket.reset();
        note(verb::close, got);
    }

    gyre::task<> finish(const step& which) {
        side& here = at(which).sides[which.side];
        const auto limit = which.by == ender::limit ? std::chrono::nanoseconds(soon) : far_away;
        const auto got = co_await here.socket->finish(limit);
        here.socket.reset();
        note(verb::finish, got);
    }

    gyre::endpoint unix_name() {
        ++names_;
        return gyre::endpoint::parse(
                   "unix:@gyre-differential-" + std::to_string(::getpid()) + "-" +
                   std::to_string(names_)
        )
            .value();
    }

    gyre::task<> accept(const step& which) {
        const bool tcp = which.other != 0;
        auto listener = gyre::listener::bind(tcp ? gyre::endpoint::loopback_v4(0) : unix_name());
        const gyre::endpoint to = listener.local_endpoint().value();
        seen other;
        auto accepts = [&]() -> gyre::task<seen> {
            return awaited(which.how, listener.accept(), 0, soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            if (which.by == ender::data) {
                other = co_await awaited(wrap::none, gyre::stream::connect(to), 0, soon);
                note(verb::connect, other);
            } else if (which.by == ender::own_close) {
                other = co_await awaited(wrap::none, listener.close(), 0, soon);
                note(verb::close, other);
            } else {
                end_in(in, which.by);
            }
        };
        const seen got = co_await beside(accepts, ends_it, !is_timed(which.by));
        note(verb::accept, got);
    }

    gyre::task<> connect(const step& which) {
        if (which.by == ender::nothing) {
            const bound_port nobody;
            const gyre::endpoint to =
                which.other != 0 ? gyre::endpoint::loopback_v4(nobody.port) : unix_name();
            const seen got = co_await awaited(which.how, gyre::stream::connect(to), 0, soon);
            note(verb::connect, got);
            co_return;
        }
        auto listener = gyre::listener::bind(unix_name(), {.backlog = 0});
        const gyre::endpoint to = listener.local_endpoint().value();
        const seen first = co_await awaited(wrap::none, gyre::stream::connect(to), 0, soon);
        note(verb::connect, first);
        seen other;
        auto connects = [&]() -> gyre::task<seen> {
            return awaited(which.how, gyre::stream::connect(to), 0, soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            if (which.by == ender::data) {
                other = co_await awaited(wrap::none, listener.accept(), 0, soon);
                note(verb::accept, other);
            } else {
                end_in(in, which.by);
            }
        };
        const seen got = co_await beside(connects, ends_it, !is_timed(which.by));
        note(verb::connect, got);
    }

    gyre::task<> read(const step& which) {
        pipe_ends pipe;
        const std::vector<std::byte> bytes(which.second_size, std::byte{7});
        std::vector<std::byte> buffer(which.size);
        auto put = [&] { return ::write(pipe.fds[1], bytes.data(), bytes.size()) > 0; };
        auto reads = [&]() -> gyre::task<seen> {
            return awaited(which.how, gyre::op::read(pipe.fds[0], buffer), buffer.size(), soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            if (which.by == ender::data) {
                put();
            } else if (which.by == ender::peer_close) {
                pipe.close(1);
            } else {
                end_in(in, which.by);
            }
            co_return;
        };
        seen got;
        if (which.by == ender::nothing) {
            put();
            got = co_await reads();
        } else {
            got = co_await beside(reads, ends_it, !is_timed(which.by));
        }
        note(verb::read, got);
    }

    gyre::task<> write(const step& which) {
        pipe_ends pipe;
        const std::vector<std::byte> bytes(which.size);
        if (which.by == ender::peer_close) {
            pipe.close(0);
        } else if (which.by != ender::nothing) {
            pipe.fill_up();
        }
        auto writes = [&]() -> gyre::task<seen> {
            return awaited(which.how, gyre::op::write(pipe.fds[1], bytes), bytes.size(), soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            if (which.by == ender::data) {
                pipe.empty();
            } else {
                end_in(in, which.by);
            }
            co_return;
        };
        seen got;
        if (which.by == ender::nothing || which.by == ender::peer_close) {
            got = co_await writes();
        } else {
            got = co_await beside(writes, ends_it, !is_timed(which.by));
        }
        note(verb::write, got);
    }

    gyre::task<> poll(const step& which) {
        pipe_ends pipe;
        auto polls_it = [&]() -> gyre::task<seen> {
            return awaited(which.how, gyre::op::poll(pipe.fds[0], POLLIN), 0, soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            if (which.by == ender::data) {
                [[maybe_unused]] const ssize_t written = ::write(pipe.fds[1], "x", 1);
            } else if (which.by == ender::peer_close) {
                pipe.close(1);
            } else {
                end_in(in, which.by);
            }
            co_return;
        };
        seen got;
        if (which.by == ender::nothing) {
            [[maybe_unused]] const ssize_t written = ::write(pipe.fds[1], "x", 1);
            got = co_await polls_it();
        } else {
            got = co_await beside(polls_it, ends_it, !is_timed(which.by));
        }
        note(verb::poll, got);
    }

    gyre::task<> sleep(const step& which) {
        const auto limit = which.by == ender::nothing ? std::chrono::nanoseconds(soon) : far_away;
        auto sleeps = [&]() -> gyre::task<seen> {
            return awaited(which.how, gyre::sleep_for(limit), 0, soon);
        };
        auto ends_it = [&](gyre::scope& in) -> gyre::task<> {
            end_in(in, which.by);
            co_return;
        };
        seen got;
        if (which.by == ender::cancel) {
            got = co_await beside(sleeps, ends_it);
        } else {
            got = co_await sleeps();
        }
        note(verb::sleep, got);
    }

    gyre::task<> reset(const step& which) {
        connection own;
        co_await open_tcp(own, which.pieces % 2 == 0, 0);
        side& here = own.sides[0];
        std::vector<std::byte> buffer(which.size);
        const auto sent = co_await here.socket->send(buffer);
        note(verb::send, look_at(sent, buffer.size()));
        here.sent += buffer.size();
        settle(own, 1);
        own.sides[1].socket.reset();
        here.reset = true;
        settle(own, 0);
        const seen got = co_await either(*here.socket, which, buffer);
        note(which.with, got);
        // Once told, it is over.
        const seen after = co_await receive(*here.socket, verb::recv, buffer, 0, wrap::none, soon);
        note(verb::recv, after);
    }

    const program& program_;
    trace& trace_;
    std::size_t index_ = 0;
    std::size_t names_ = 0;
    std::array<connection, connection_count> connections_;
};

} // namespace

std::string text_of(const record& which) {
    char text[160];
    std::snprintf(
        text,
        sizeof text,
        "step %u: %s: %s (%d), %lld bytes at %llu",
        which.step,
        name_of(which.what),
        name_of(which.how),
        which.error,
        static_cast<long long>(which.bytes),
        static_cast<unsigned long long>(which.position)
    );
    return text;
}

trace run(const program& which, gyre::engine_kind engine) {
    trace made;
    auto main = [&]() -> gyre::task<> {
        machine runs(which, made);
        co_await runs.main();
        const gyre::scheduler& on = gyre::scheduler::current();
        // The kernel may answer a cancel after its target has ended.
        for (int wait = 0; wait < 1000 && on.operations_in_flight() != 0; ++wait) {
            const auto slept = co_await gyre::sleep_for(1ms);
            static_cast<void>(slept);
        }
        if (on.operations_in_flight() != 0) {
            made.problems.emplace_back("operations are in flight at the end");
        }
        const gyre::scheduler_counters counters = on.counters();
        if (counters.stray_completions != 0) {
            made.problems.emplace_back("an operation completed twice");
        }
        if (counters.forced_drains != 0) {
            made.problems.emplace_back("an operation was left behind");
        }
    };
    run_on(engine, which.seed, main);
    return made;
}

} // namespace differential
