#include "differential/program.hpp"

#include "differential/adaptor.hpp"
#include "differential/outcome.hpp"
#include "differential/random.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

namespace differential {

namespace {

constexpr std::size_t steps_per_program = 50;

// What is known of a connection before it exists: whether an operation would have to wait. By side.
struct side_state {
    std::uint32_t unread = 0; // Bytes that wait for this side.
    std::uint32_t sends = 0;  // In how many pieces: a Unix socket's room shrinks with each.
    bool ended = false;       // It has shut its sending side down.
    bool deaf = false;        // The same for its receiving side.
    bool closed = false;
    bool reset = false;
};

struct connection_state {
    bool open = false;
    bool tcp = false;
    std::array<side_state, 2> sides;

    bool whole() const noexcept {
        return std::none_of(sides.begin(), sides.end(), [](const side_state& each) {
            return each.ended || each.deaf || each.closed || each.reset;
        });
    }
};

constexpr std::uint32_t unread_max = 48 * 1024;
constexpr std::uint32_t sends_max = 32;
constexpr std::uint32_t wait_size_max = 4096; // One segment: it arrives whole.

class generator {
public:
    explicit generator(std::uint64_t seed) : random_(seed) { made_.seed = seed; }

    program make() {
        while (made_.steps.size() < steps_per_program) {
            add();
        }
        return std::move(made_);
    }

private:
    void add() {
        const std::uint32_t choice = random_.below(100);
        if (choice < 16) {
            return alone(); // Needs no connection.
        }
        next_ = {};
        next_.connection = static_cast<std::uint8_t>(random_.below(connection_count));
        next_.side = static_cast<std::uint8_t>(random_.below(2));
        next_.pieces = static_cast<std::uint32_t>(random_.next() >> 40);
        connection_state& at = connections_[next_.connection];
        if (!at.open || (at.sides[0].closed && at.sides[1].closed)) {
            at = {};
            at.open = true;
            at.tcp = random_.one_in(2);
            next_.what = at.tcp ? action::open_tcp : action::open_unix;
            next_.other = static_cast<std::uint8_t>(random_.below(2));
            made_.steps.push_back(next_);
            return;
        }
        if (at.sides[next_.side].closed) {
            next_.side ^= 1;
        }
        side_state& here = at.sides[next_.side];
        side_state& there = at.sides[next_.side ^ 1U];
        if (choice < 32) {
            send(at, here, there);
        } else if (choice < 50) {
            receive(here, there);
        } else if (choice < 77) {
            wait(here, there);
        } else if (choice < 79) {
            transfer(at, here, there);
        } else if (choice < 84) {
            refused();
        } else if (choice < 87) {
            race_two(at, here);
        } else if (choice < 93) {
            squeeze();
        } else if (choice < 95) {
            shutdown(at, here, there);
        } else if (choice < 97) {
            close(here, there);
        } else {
            finish(at, here, there);
        }
    }

    void push(action what) {
        next_.what = what;
        made_.steps.push_back(next_);
    }

    // What changes nothing.
    wrap harmless() {
        return random_.one_of(
            {wrap::none, wrap::none, wrap::far_limit, wrap::idle, wrap::shielded, wrap::first_of_two
            }
        );
    }
    verb any_send() {
        return random_.one_of(
            {verb::send,
             verb::send_gather,
             verb::send_dontwait,
             verb::send_gather_all,
             verb::send_all}
        );
    }
    verb any_verb() {
        return random_.one_of(
            {verb::recv,
             verb::recv_peek,
             verb::recv_waitall,
             verb::recv_dontwait,
             verb::recv_scatter,
             verb::recv_scatter_all,
             verb::recv_exactly,
             verb::send,
             verb::send_gather,
             verb::send_dontwait,
             verb::send_gather_all,
             verb::send_all}
        );
    }
    static bool never_waits(const side_state& here, const side_state& there) {
        return here.deaf || here.reset || there.ended || there.closed;
    }

    // Then TCP's own states go on, unseen, and a shutdown may find it connected or not.
    static bool over_both_ways(const side_state& here, const side_state& there) {
        return here.ended && (there.ended || there.closed);
    }

    void send(connection_state& at, side_state& here, side_state& there) {
        next_.with = any_send();
        next_.how = harmless();
        next_.size = random_.size(16 * 1024);
        const bool arrives = !here.ended && !here.reset && !there.closed && !there.reset;
        if (arrives && at.tcp && there.deaf && there.ended) {
            here.reset = there.reset = true;
        } else if (!at.tcp && there.deaf) {
            // EPIPE.
        } else if (arrives) {
            if (there.unread + next_.size > unread_max || there.sends == sends_max) {
                return;
            }
            there.unread += next_.size;
            ++there.sends;
        } else if (at.tcp && there.closed && !here.ended) {
            here.reset = true;
        }
        push(action::send);
    }

    static void took(side_state& here, std::uint32_t count) {
        here.unread -= count;
        if (here.unread == 0) {
            here.sends = 0;
        }
    }

    void receive(side_state& here, const side_state& there) {
        const bool over = never_waits(here, there);
        next_.size = random_.size(32 * 1024);
        next_.how = harmless();
        if (here.unread == 0 && !over) {
            next_.with = verb::recv_dontwait;
            return push(action::receive);
        }
        next_.with = random_.one_of(
            {verb::recv,
             verb::recv_peek,
             verb::recv_waitall,
             verb::recv_dontwait,
             verb::recv_scatter,
             verb::recv_scatter_all,
             verb::recv_exactly}
        );
        const bool all = receives_all(next_.with);
        if (all && !over) {
            next_.size = std::min(next_.size, here.unread);
        }
        if ((!all || next_.size <= here.unread) && random_.one_in(5)) {
            next_.how = wrap::zero_limit;
        }
        if (next_.with != verb::recv_peek) {
            took(here, std::min(next_.size, here.unread));
        }
        push(action::receive);
    }

    // Sets the wrap that an ender needs, or one that lets it through.
    void end_by(ender which) {
        next_.by = which;
        switch (which) {
        case ender::limit:
            next_.how = wrap::near_limit;
            break;
        case ender::stop:
            next_.how = wrap::idle;
            break;
        case ender::loses:
            next_.how = wrap::last_of_two;
            break;
        case ender::cancel:
            next_.how = random_.one_of({wrap::none, wrap::far_limit, wrap::idle});
            break;
        default:
            next_.how = harmless();
            break;
        }
    }

    void wait(side_state& here, side_state& there) {
        if (never_waits(here, there) || here.ended || there.deaf || there.reset) {
            return;
        }
        next_.with = random_.one_of(
            {verb::recv,
             verb::recv_peek,
             verb::recv_waitall,
             verb::recv_scatter,
             verb::recv_scatter_all,
             verb::recv_exactly}
        );
        const bool all = receives_all(next_.with);
        if (here.unread != 0 && !all) {
            return;
        }
        // Enders that leave the connection are more frequent than those that end it.
        end_by(random_.one_of(
            {ender::data,
             ender::data,
             ender::data,
             ender::data,
             ender::cancel,
             ender::cancel,
             ender::limit,
             ender::limit,
             ender::stop,
             ender::stop,
             ender::loses,
             ender::peer_end,
             ender::peer_close,
             ender::own_shutdown,
             ender::own_close}
        ));
        const std::uint32_t wanted = random_.size(wait_size_max);
        next_.size = all ? here.unread + wanted : wanted;
        next_.second_size = all ? wanted : random_.size(wait_size_max);
        const std::uint32_t before = here.unread;
        took(here, before); // By those that want all.
        switch (next_.by) {
        case ender::data:
            if (!all) {
                here.unread = next_.second_size;
                here.sends = 1;
                if (next_.with != verb::recv_peek) {
                    took(here, std::min(next_.size, next_.second_size));
                }
            }
            break;
        case ender::peer_end:
            there.ended = true;
            break;
        case ender::peer_close:
            there.closed = true;
            here.reset = there.unread != 0;
            break;
        case ender::own_shutdown:
            here.deaf = true;
            here.ended = here.ended || (next_.pieces & 1U) != 0;
            break;
        case ender::own_close:
            here.closed = true;
            break;
        default:
            break;
        }
        push(action::wait);
    }

    void transfer(const connection_state& at, const side_state& here, const side_state& there) {
        if (!at.whole() || here.unread != 0 || there.unread != 0) {
            return;
        }
        next_.size = random_.between(32 * 1024, 256 * 1024);
        next_.second_size = random_.one_in(2) ? 0 : random_.between(32 * 1024, 256 * 1024);
        next_.with = random_.one_of({verb::recv, verb::recv_waitall, verb::recv_exactly});
        next_.how = random_.one_of({wrap::none, wrap::far_limit, wrap::idle});
        push(action::transfer);
    }

    void refused() {
        next_.with = any_verb();
        next_.size = random_.size(1024);
        next_.how = random_.one_of({wrap::none, wrap::far_limit, wrap::first_of_two});
        push(action::refused);
    }

    void race_two(const connection_state& at, const side_state& here) {
        next_.other = static_cast<std::uint8_t>(random_.below(connection_count));
        connection_state& second = connections_[next_.other];
        side_state& has_data = second.sides[next_.side];
        if (!at.whole() || here.unread != 0 || !second.open || has_data.closed ||
            has_data.unread == 0) {
            return;
        }
        next_.size = random_.size(4096);
        took(has_data, std::min(next_.size, has_data.unread));
        push(action::race_two);
    }

    // On a connection of its own with small buffers.
    void squeeze() {
        next_.other = random_.one_in(3) ? 1 : 0; // TCP
        end_by(random_.one_of(
            {ender::nothing,
             ender::nothing,
             ender::data,
             ender::cancel,
             ender::limit,
             ender::limit,
             ender::stop,
             ender::stop,
             ender::loses,
             ender::peer_close,
             ender::own_shutdown,
             ender::own_close}
        ));
        constexpr std::uint32_t too_much = 256 * 1024;
        if (next_.by == ender::nothing) { // It takes what there is room for.
            next_.with = random_.one_of({verb::send, verb::send_gather, verb::send_dontwait});
            next_.size = too_much;
            return push(action::squeeze);
        }
        // Room on a TCP connection comes and goes with the segments under way; only a send of more
        // than there can be room for is sure to wait.
        if (next_.other != 0) {
            next_.with = random_.one_of({verb::send_all, verb::send_gather_all});
        } else {
            next_.with = random_.one_of(
                {verb::send,
                 verb::send,
                 verb::send_gather,
                 verb::send_gather,
                 verb::send_gather_all,
                 verb::send_all}
            );
        }
        const bool all = next_.with == verb::send_all || next_.with == verb::send_gather_all;
        next_.size = all ? too_much : random_.size(64 * 1024);
        push(action::squeeze);
    }

    void shutdown(const connection_state& at, side_state& here, const side_state& there) {
        next_.other = static_cast<std::uint8_t>(random_.below(3));
        if (here.reset || there.reset || (at.tcp && over_both_ways(here, there)) ||
            (next_.other != 1 && random_.one_in(2))) {
            return;
        }
        here.deaf = here.deaf || next_.other != 1;
        here.ended = here.ended || next_.other != 0;
        push(action::shutdown);
    }

    void close(side_state& here, side_state& there) {
        here.closed = true;
        there.reset = there.reset || here.unread != 0;
        push(action::close);
    }

    void finish(const connection_state& at, side_state& here, const side_state& there) {
        if (here.reset || there.reset || (at.tcp && over_both_ways(here, there))) {
            return;
        }
        next_.by = never_waits(here, there) ? ender::nothing : ender::limit;
        if (next_.by == ender::limit && here.unread != 0) {
            return; // Whether all was discarded in time decides on a reset.
        }
        here.closed = true;
        push(action::finish);
    }

    void alone() {
        next_ = {};
        next_.pieces = static_cast<std::uint32_t>(random_.next() >> 40);
        next_.other = static_cast<std::uint8_t>(random_.below(2));
        switch (random_.below(9)) {
        case 0:
            end_by(random_.one_of(
                {ender::data,
                 ender::cancel,
                 ender::limit,
                 ender::stop,
                 ender::loses,
                 ender::own_close}
            ));
            return push(action::accept);
        case 1:
            end_by(random_.one_of(
                {ender::nothing, ender::data, ender::cancel, ender::limit, ender::loses}
            ));
            return push(action::connect);
        case 2:
            end_by(random_.one_of(
                {ender::nothing,
                 ender::data,
                 ender::peer_close,
                 ender::cancel,
                 ender::limit,
                 ender::stop}
            ));
            next_.size = random_.size(4096);
            next_.second_size = random_.size(4096);
            return push(action::read);
        case 3:
            end_by(random_.one_of(
                {ender::nothing,
                 ender::data,
                 ender::peer_close,
                 ender::cancel,
                 ender::limit,
                 ender::loses}
            ));
            next_.size = random_.size(4096);
            return push(action::write);
        case 4:
            end_by(random_.one_of(
                {ender::nothing, ender::data, ender::peer_close, ender::cancel, ender::limit}
            ));
            return push(action::poll);
        case 5:
            end_by(random_.one_of({ender::nothing, ender::cancel, ender::limit}));
            return push(action::sleep);
        default: // Its first operation is told; any other comes about on other connections.
            next_.with = any_verb();
            next_.how = harmless();
            next_.size = random_.size(4096);
            return push(action::reset);
        }
    }

    random random_;
    program made_;
    step next_;
    std::array<connection_state, connection_count> connections_;
};

} // namespace

program make_program(std::uint64_t seed) {
    return generator(seed).make();
}

std::string text_of(const step& which) {
    constexpr std::array<const char*, 19> actions = {
        "open unix", "open tcp", "send",     "receive", "wait",   "transfer", "squeeze",
        "refused",   "race",     "shutdown", "close",   "finish", "accept",   "connect",
        "read",      "write",    "poll",     "sleep",   "reset",
    };
    constexpr std::array<const char*, ender_count> enders = {
        "",
        "until data",
        "until the peer's end",
        "until the peer closes",
        "until its own shutdown",
        "until its own close",
        "until a cancel",
        "until a limit",
        "until a stop",
        "until another is first",
    };
    char text[256];
    std::snprintf(
        text,
        sizeof text,
        "%s, connection %d side %d other %d, %s size %u second %u pieces %u %s %s",
        actions[static_cast<std::size_t>(which.what)],
        which.connection,
        which.side,
        which.other,
        name_of(which.with),
        which.size,
        which.second_size,
        which.pieces,
        name_of(which.how),
        enders[static_cast<std::size_t>(which.by)]
    );
    return text;
}

} // namespace differential
