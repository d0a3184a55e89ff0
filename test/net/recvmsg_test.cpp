// What comes and goes beside the bytes of a datagram, on real sockets.

#include <gyre/net/datagram.hpp>

#include <gyre/net/ancillary.hpp>
#include <gyre/net/ip_option.hpp>
#include <gyre/operation/buffer.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

gyre::endpoint place_of(const gyre::datagram& which) {
    return which.local_endpoint().value();
}

std::string_view bytes_in(std::span<const std::byte> buffer, const gyre::message_size& size) {
    return test::text_of(buffer.first(size.stored()));
}

// On each engine, for each IP family.
template <class Body>
void on_every_family(Body body) {
    for (const char* kind : {"127.0.0.1:0", "[::1]:0"}) {
        if (!gyre::datagram::try_bind(kind)) {
            test::skip("this machine has no IPv6");
            continue;
        }
        INFO("bound to ", std::string(kind));
        test::on_every_engine([&]() { return body(gyre::endpoint(kind)); });
    }
}

gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield();
}

// Two descriptors that can be passed, and whether somebody still holds their other end.
struct pipe_ends {
    pipe_ends() { REQUIRE(::pipe2(ends, O_CLOEXEC) == 0); }
    ~pipe_ends() {
        ::close(ends[0]);
        close_write_end();
    }
    pipe_ends(const pipe_ends&) = delete;
    pipe_ends& operator=(const pipe_ends&) = delete;

    void close_write_end() {
        if (ends[1] >= 0) {
            ::close(ends[1]);
            ends[1] = -1;
        }
    }
    // Once ours is closed: no copy of the write end is open anywhere.
    bool is_ended() {
        close_write_end();
        ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
        char byte;
        return ::read(ends[0], &byte, 1) == 0;
    }
    int ends[2];
};

} // namespace

TEST_SUITE_BEGIN("net/recvmsg");

TEST_CASE("each message brings where it was sent to, its hop limit, its class and its time") {
    on_every_family([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        REQUIRE(receiver.receive_details(
            {.packet = true, .hop_limit = true, .traffic_class = true, .timestamp = true}
        ));
        auto sender = gyre::datagram::bind(kind);
        const auto family = kind.family();
        gyre::control_message<> extra;
        REQUIRE(extra.add_hop_limit(family, 33));
        REQUIRE(extra.add_traffic_class(family, 0x28));
        const auto before = std::chrono::system_clock::now();
        const auto sent =
            co_await sender.sendmsg(test::bytes_of("hello"), place_of(receiver), extra);
        REQUIRE(sent);
        CHECK(*sent == 5U);

        std::array<std::byte, 16> buffer;
        gyre::endpoint from;
        gyre::control_buffer<> control;
        const auto received = co_await receiver.recvmsg(buffer, from, control);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "hello");
        CHECK(from == place_of(sender));
        CHECK(!control.truncated());
        const auto packet = control.packet();
        REQUIRE(packet);
        CHECK(packet->destination == kind);
        CHECK(packet->local == kind);
        CHECK(packet->interface_index == ::if_nametoindex("lo"));
        CHECK(control.hop_limit() == 33);
        CHECK(control.traffic_class() == 0x28);
        const auto time = control.timestamp();
        REQUIRE(time);
        // The clock may be set meanwhile, but not by a day.
        CHECK(*time > before - 24h);
        CHECK(*time < std::chrono::system_clock::now() + 24h);

        // The next message does not bring what the last one did.
        const auto again = co_await sender.sendto(test::bytes_of("x"), place_of(receiver));
        REQUIRE(again);
        const auto peeked = co_await receiver.recv(std::span<std::byte>(), MSG_PEEK);
        REQUIRE(peeked);
        const auto tried = receiver.try_recvmsg(buffer, from, control);
        REQUIRE(tried);
        CHECK(control.hop_limit() == 64);
        CHECK(control.traffic_class() == 0);
    });
}

TEST_CASE("a message that is waited for brings them as well") {
    on_every_family([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        REQUIRE(receiver.receive_details({.packet = true, .hop_limit = true}));
        auto sender = gyre::datagram::bind(kind);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 4> head;
                std::array<std::byte, 4> tail;
                const std::array<gyre::mutable_buffer, 2> list{
                    gyre::mutable_buffer(head), gyre::mutable_buffer(tail)
                };
                gyre::endpoint from;
                gyre::control_buffer<> control;
                const auto received = co_await receiver.recvmsg(list, from, control);
                REQUIRE(received);
                CHECK(received->stored() == 8U);
                CHECK(received->full() == 10U);
                CHECK(test::text_of(head) == "0123");
                CHECK(test::text_of(tail) == "4567");
                CHECK(from == place_of(sender));
                CHECK(control.hop_limit().has_value());
                CHECK(control.packet().has_value());
            });
            co_await until_in_flight(1);
            const auto sent =
                co_await sender.sendto(test::bytes_of("0123456789"), place_of(receiver));
            CHECK(sent);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a message is sent from the address that it is told to be sent from") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("127.0.0.1:0");
        auto sender = gyre::datagram::bind("0.0.0.0:0");
        gyre::control_message<> source;
        REQUIRE(source.add_source("127.0.0.77:0"));
        const auto sent = co_await sender.sendmsg(test::bytes_of("x"), place_of(receiver), source);
        REQUIRE(sent);
        std::array<std::byte, 4> buffer;
        gyre::endpoint from;
        const auto received = co_await receiver.recvfrom(buffer, from);
        REQUIRE(received);
        CHECK(from.with_port(0) == gyre::endpoint("127.0.0.77:0"));
    });
}

TEST_CASE("ancillary data that does not fit is reported, and what fits is there") {
    on_every_family([](gyre::endpoint kind) -> gyre::task<> {
        auto receiver = gyre::datagram::bind(kind);
        REQUIRE(receiver.receive_details({.packet = true, .hop_limit = true, .timestamp = true}));
        auto sender = gyre::datagram::bind(kind);
        const auto sent = co_await sender.sendto(test::bytes_of("whole"), place_of(receiver));
        REQUIRE(sent);
        std::array<std::byte, 16> buffer;
        gyre::endpoint from;
        gyre::control_buffer<32> small; // A time alone.
        const auto received = co_await receiver.recvmsg(buffer, from, small);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == "whole");
        CHECK(small.truncated());
        CHECK(small.timestamp().has_value());
        CHECK(!small.packet().has_value());
    });
}

// Segments

TEST_CASE("one send is cut into datagrams, and several datagrams come as one message") {
    on_every_family([](gyre::endpoint kind) -> gyre::task<> {
        auto plain = gyre::datagram::bind(kind);
        auto sender = gyre::datagram::bind(kind);
        const std::string text = std::string(500, 'a') + std::string(500, 'b') + "rest";
        gyre::control_message<> cut;
        REQUIRE(cut.add_segment_size(500));

        const auto sent = co_await sender.sendmsg(test::bytes_of(text), place_of(plain), cut);
        REQUIRE(sent);
        CHECK(*sent == text.size());
        std::array<std::byte, 4096> buffer;
        for (const std::size_t size : {500U, 500U, 4U}) {
            const auto received = co_await plain.recv(buffer);
            REQUIRE(received);
            CHECK(received->full() == size);
        }

        auto joining = gyre::datagram::bind(kind);
        REQUIRE(joining.receive_details({.segments = true}));
        REQUIRE(sender.set_option(gyre::udp_segment_size(500)));
        const auto whole = co_await sender.sendto(test::bytes_of(text), place_of(joining));
        REQUIRE(whole);
        gyre::endpoint from;
        gyre::control_buffer<> control;
        const auto received = co_await joining.recvmsg(buffer, from, control);
        REQUIRE(received);
        CHECK(bytes_in(buffer, *received) == text);
        CHECK(control.segment_size() == 500);
    });
}

// Errors

TEST_CASE("the error queue says which message failed, why, and who says so") {
    on_every_family([](gyre::endpoint kind) -> gyre::task<> {
        auto gone = std::make_optional(gyre::datagram::bind(kind));
        const gyre::endpoint at = place_of(*gone);
        gone.reset();
        auto socket = gyre::datagram::bind(kind);
        CHECK(socket.try_recv_error().error() == gyre::errno_code(EAGAIN));
        REQUIRE(socket.receive_details({.errors = true}));
        std::array<std::byte, 16> buffer;

        // Not connected: without the queue nobody would be told at all.
        const auto sent = co_await socket.sendto(test::bytes_of("lost"), at);
        REQUIRE(sent);
        const auto received = co_await socket.recv(buffer);
        CHECK(received.error() == gyre::errno_code(ECONNREFUSED));

        const auto failed = socket.try_recv_error(buffer);
        REQUIRE(failed);
        const bool is_ipv6 = kind.family() == gyre::address_family::ipv6;
        CHECK(failed->why.error == gyre::errno_code(ECONNREFUSED));
        CHECK(
            failed->why.origin == (is_ipv6 ? gyre::error_origin::icmp6 : gyre::error_origin::icmp)
        );
        CHECK(failed->why.type == (is_ipv6 ? 1 : 3)); // Destination unreachable...
        CHECK(failed->why.code == (is_ipv6 ? 4 : 3)); // ...the port of it.
        CHECK(failed->why.offender.with_port(0) == kind);
        CHECK(failed->to == at);
        CHECK(bytes_in(buffer, failed->size) == "lost");
        CHECK(socket.try_recv_error().error() == gyre::errno_code(EAGAIN));
    });
}

TEST_CASE("a receive with MSG_ERRQUEUE waits for an entry of the error queue, and for no message") {
    on_every_family([](gyre::endpoint kind) -> gyre::task<> {
        auto gone = std::make_optional(gyre::datagram::bind(kind));
        const gyre::endpoint at = place_of(*gone);
        gone.reset();
        auto socket = gyre::datagram::bind(kind);
        REQUIRE(socket.receive_details({.errors = true}));
        bool told = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 16> buffer;
                gyre::endpoint to;
                gyre::control_buffer<> control;
                const auto received = co_await socket.recvmsg(buffer, to, control, MSG_ERRQUEUE);
                REQUIRE(received);
                told = true;
                CHECK(to == at);
                const auto why = control.error();
                REQUIRE(why);
                CHECK(why->error == gyre::errno_code(ECONNREFUSED));
            });
            co_await until_in_flight(1);
            auto other = gyre::datagram::bind(kind);
            const auto message = co_await other.sendto(test::bytes_of("x"), place_of(socket));
            CHECK(message);
            for (int turn = 0; turn < 5; ++turn) {
                co_await gyre::yield();
            }
            CHECK(!told);
            const auto sent = co_await socket.sendto(test::bytes_of("lost"), at);
            CHECK(sent);
        };
        co_await gyre::with_scope(body);
        CHECK(told);
    });
}

TEST_CASE("a message that must not be cut is EMSGSIZE, and the queue says what the path takes") {
    test::on_every_engine([]() -> gyre::task<> {
        auto socket = gyre::datagram::bind("127.0.0.1:0");
        auto receiver = gyre::datagram::bind("127.0.0.1:0");
        REQUIRE(socket.connect(place_of(receiver)));
        REQUIRE(socket.set_option(gyre::v4_mtu_discovery(gyre::mtu_discovery::strict)));
        REQUIRE(socket.receive_details({.errors = true}));
        const auto mtu = socket.option<gyre::v4_path_mtu>();
        REQUIRE(mtu);
        if (*mtu > 65000) {
            // No datagram is larger than the path: the limit of UDP comes first.
            const std::vector<std::byte> large(65508);
            const auto sent = co_await socket.send(large);
            CHECK(sent.error() == gyre::errno_code(EMSGSIZE));
        } else {
            const std::vector<std::byte> large(static_cast<std::size_t>(*mtu));
            const auto sent = co_await socket.send(large);
            CHECK(sent.error() == gyre::errno_code(EMSGSIZE));
            const auto failed = socket.try_recv_error();
            REQUIRE(failed);
            CHECK(failed->why.origin == gyre::error_origin::local);
            CHECK(failed->why.info == static_cast<std::uint32_t>(*mtu));
        }
    });
}

// Descriptors

TEST_CASE("a descriptor that is passed is close-on-exec, and its taker's") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::datagram::pair();
        pipe_ends pipe;
        const std::array<int, 1> passed{pipe.ends[1]};
        gyre::control_message<> message;
        REQUIRE(message.add_descriptors(passed));
        const auto sent =
            co_await pair.first.sendmsg(test::bytes_of("take"), gyre::endpoint(), message);
        REQUIRE(sent);

        std::array<std::byte, 8> buffer;
        gyre::endpoint from;
        gyre::control_buffer<> control;
        const auto received = co_await pair.second.recvmsg(buffer, from, control);
        REQUIRE(received);
        CHECK(control.descriptor_count() == 1U);
        auto taken = control.take_descriptor();
        REQUIRE(taken.is_open());
        CHECK((::fcntl(taken.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
        CHECK(::write(taken.native_handle(), "x", 1) == 1);
        char byte = 0;
        CHECK(::read(pipe.ends[0], &byte, 1) == 1);
        taken.reset();
        CHECK(pipe.is_ended());
    });
}

TEST_CASE("no descriptor leaks: unread, without room, cut, received again, canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = test::open_descriptors();
        {
            auto pair = gyre::datagram::pair();
            pipe_ends pipe;
            const std::array<int, 3> passed{pipe.ends[1], pipe.ends[1], pipe.ends[1]};
            gyre::control_message<> message;
            REQUIRE(message.add_descriptors(passed));
            std::array<std::byte, 8> buffer;
            gyre::endpoint from;
            const auto pass = [&]() {
                const auto sent =
                    pair.first.try_sendmsg(test::bytes_of("m"), gyre::endpoint(), message);
                REQUIRE(sent);
            };
            const auto held = test::open_descriptors();

            pass(); // Without a place for them.
            const auto plain = co_await pair.second.recvfrom(buffer, from);
            REQUIRE(plain);
            CHECK(test::open_descriptors() == held);
            pass();
            const auto bytes = co_await pair.second.recv(buffer);
            REQUIRE(bytes);
            CHECK(test::open_descriptors() == held);
            {
                pass(); // Room for one of them.
                gyre::control_buffer<20> small;
                const auto cut = co_await pair.second.recvmsg(buffer, from, small);
                REQUIRE(cut);
                CHECK(small.truncated());
                CHECK(small.descriptor_count() == 1U);
                CHECK(test::open_descriptors() == held + 1);
            }
            CHECK(test::open_descriptors() == held);
            {
                pass(); // Nobody looks at them.
                gyre::control_buffer<> control;
                const auto unread = co_await pair.second.recvmsg(buffer, from, control);
                REQUIRE(unread);
                CHECK(test::open_descriptors() == held + 3);
                pass(); // The next message takes the place of the last.
                const auto next = co_await pair.second.recvmsg(buffer, from, control);
                REQUIRE(next);
                CHECK(test::open_descriptors() == held + 3);
                const auto none = pair.second.try_recvmsg(buffer, from, control);
                CHECK(none.error() == gyre::errno_code(EAGAIN));
                CHECK(test::open_descriptors() == held);
            }
            pass(); // Still in the queue when the socket goes.
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("descriptors of a message that nobody takes, since its task went, are closed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::datagram::pair();
        pipe_ends pipe;
        const std::array<int, 1> passed{pipe.ends[1]};
        gyre::control_message<> message;
        REQUIRE(message.add_descriptors(passed));
        const auto before = test::open_descriptors();
        auto receive = [&]() -> gyre::task<> {
            std::array<std::byte, 8> buffer;
            gyre::endpoint from;
            gyre::control_buffer<> control;
            const auto received = co_await pair.second.recvmsg(buffer, from, control);
            static_cast<void>(received);
        };
        // Many times, with the message before, with and after the cancel.
        for (int round = 0; round < 40; ++round) {
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn(receive);
                for (int turn = 0; turn < round % 4; ++turn) {
                    co_await gyre::yield();
                }
                CHECK(pair.first.try_sendmsg(test::bytes_of("m"), gyre::endpoint(), message));
                for (int turn = 0; turn < round % 3; ++turn) {
                    co_await gyre::yield();
                }
                scope.cancel();
            };
            co_await gyre::with_scope(body);
            std::array<std::byte, 8> rest;
            static_cast<void>(pair.second.try_recv(rest)); // The cancel won.
            CHECK(test::open_descriptors() == before);
        }
        CHECK(pipe.is_ended());
    });
}

TEST_CASE("the sender of a Unix message is known by its credentials") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::datagram::pair();
        const int on = 1;
        REQUIRE(
            ::setsockopt(pair.second.native_handle(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0
        );
        const auto sent = co_await pair.first.send(test::bytes_of("me"));
        REQUIRE(sent);
        std::array<std::byte, 8> buffer;
        gyre::endpoint from;
        gyre::control_buffer<> control;
        const auto received = co_await pair.second.recvmsg(buffer, from, control);
        REQUIRE(received);
        const auto who = control.credentials();
        REQUIRE(who);
        CHECK(who->process_id == ::getpid());
        CHECK(who->user_id == ::getuid());
        CHECK(who->group_id == ::getgid());

        gyre::control_message<> message;
        REQUIRE(message.add_credentials(*who));
        CHECK(pair.first.try_sendmsg(test::bytes_of("me"), gyre::endpoint(), message));
    });
}

TEST_SUITE_END();
