#include <gyre/net/datagram.hpp>

#include <gyre/net/ip_option.hpp>

#include "support/child.hpp"
#include "support/test.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

namespace {

gyre::endpoint place_of(const gyre::datagram& which) {
    return which.local_endpoint().value();
}

std::uint32_t loopback_index() {
    return ::if_nametoindex("lo");
}

// Whether what `from` sends to `group`, with the port of `at`, arrives there before a message that
// is sent to it alone.
gyre::task<bool> arrives(gyre::datagram& from, const gyre::endpoint& group, gyre::datagram& at) {
    const auto port = place_of(at).port();
    const bool is_ipv6 = group.family() == gyre::address_family::ipv6;
    const auto alone =
        is_ipv6 ? gyre::endpoint::loopback_v6(port) : gyre::endpoint::loopback_v4(port);
    const auto to_all = co_await from.sendto(test::bytes_of("to all"), group.with_port(port));
    const auto to_one = co_await from.sendto(test::bytes_of("to one"), alone);
    if (!to_all || !to_one) {
        co_return false;
    }
    bool arrived = false;
    for (;;) {
        std::array<std::byte, 16> buffer;
        gyre::endpoint sender;
        const auto received = co_await at.recvfrom(buffer, sender);
        if (!received || test::text_of(std::span(buffer).first(received->stored())) == "to one") {
            co_return arrived;
        }
        arrived = arrived || sender.port() == place_of(from).port();
    }
}

bool write_file(const char* path, const std::string& text) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::close(fd);
    return written;
}

// For a process that is about to end: a network with an interface "v0" that both families use. The
// kernel makes its IPv6 routes when it has noticed that the link is up, for which it may take a
// second.
bool enter_own_network() {
    const std::string user = std::to_string(::getuid());
    if (::unshare(CLONE_NEWNET) != 0 && (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 ||
                                         !write_file("/proc/self/uid_map", "0 " + user + " 1"))) {
        return false;
    }
    return std::system("(ip link set lo up && ip link add name v0 type veth peer name v1 && "
                       "ip link set v0 addrgenmode none && ip link set v1 addrgenmode none && "
                       "ip addr add 10.77.0.1/24 dev v0 && ip addr add fe80::1/64 dev v0 nodad && "
                       "ip link set v1 up && ip link set v0 up && "
                       "for attempt in $(seq 200); do ip -6 route get ff12::7777 oif v0 | "
                       "grep -q fe80::1 && exit 0; sleep 0.05; done; exit 1) >/dev/null 2>&1") == 0;
}

} // namespace

TEST_SUITE_BEGIN("net/multicast");

TEST_CASE("a member of a group gets what is sent to it, until it leaves") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::membership group{.group = "239.77.1.2:0", .interface_index = loopback_index()};
        auto receiver = gyre::datagram::bind("0.0.0.0:0");
        auto sender = gyre::datagram::bind("127.0.0.1:0");
        REQUIRE(sender.set_option(gyre::v4_multicast_interface(loopback_index())));

        const bool before = co_await arrives(sender, group.group, receiver);
        CHECK(!before);
        REQUIRE(receiver.join(group));
        CHECK(receiver.join(group).error() == gyre::errno_code(EADDRINUSE));
        const bool during = co_await arrives(sender, group.group, receiver);
        CHECK(during);
        REQUIRE(receiver.leave(group));
        const bool after = co_await arrives(sender, group.group, receiver);
        CHECK(!after);
        CHECK(receiver.leave(group).error() == gyre::errno_code(EADDRNOTAVAIL));
    });
}

TEST_CASE("a member that waits is woken, and the packet says that it was for the group") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::membership group{.group = "239.77.1.3:0", .interface_index = loopback_index()};
        auto receiver = gyre::datagram::bind("0.0.0.0:0");
        REQUIRE(receiver.join(group));
        REQUIRE(receiver.receive_details({.packet = true, .hop_limit = true}));
        auto sender = gyre::datagram::bind("127.0.0.1:0");
        REQUIRE(sender.set_option(gyre::v4_multicast_interface(loopback_index())));
        REQUIRE(sender.set_option(gyre::v4_multicast_time_to_live(5)));
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 16> buffer;
                gyre::endpoint from;
                gyre::control_buffer<> control;
                const auto received = co_await receiver.recvmsg(buffer, from, control);
                REQUIRE(received);
                const auto packet = control.packet();
                REQUIRE(packet);
                CHECK(packet->destination == group.group);
                CHECK(packet->interface_index == loopback_index());
                CHECK(control.hop_limit() == 5);
            });
            co_await gyre::yield();
            co_await gyre::yield();
            const auto port = place_of(receiver).port();
            const auto sent =
                co_await sender.sendto(test::bytes_of("x"), group.group.with_port(port));
            CHECK(sent);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("each member of a group gets a copy when they share the port") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::membership group{.group = "239.77.1.4:0", .interface_index = loopback_index()};
        const gyre::datagram_options shared{.reuse_address = true};
        auto one = gyre::datagram::bind("0.0.0.0:0", shared);
        auto other = gyre::datagram::bind(place_of(one), shared);
        REQUIRE(one.join(group));
        REQUIRE(other.join(group));
        auto sender = gyre::datagram::bind("127.0.0.1:0");
        REQUIRE(sender.set_option(gyre::v4_multicast_interface(loopback_index())));
        const auto to_all = group.group.with_port(place_of(one).port());
        const auto sent = co_await sender.sendto(test::bytes_of("to all"), to_all);
        CHECK(sent);
        for (gyre::datagram* member : {&one, &other}) {
            std::array<std::byte, 16> buffer;
            const auto received = co_await member->recv(buffer);
            CHECK(received);
        }
    });
}

TEST_CASE("a member for one source hears that source alone") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::membership only{
            .group = "232.77.1.2:0", .interface_index = loopback_index(), .source = "127.0.0.2:0"
        };
        auto receiver = gyre::datagram::bind("0.0.0.0:0");
        REQUIRE(receiver.join(only));
        auto chosen = gyre::datagram::bind("127.0.0.2:0");
        auto stranger = gyre::datagram::bind("127.0.0.3:0");
        for (gyre::datagram* each : {&chosen, &stranger}) {
            REQUIRE(each->set_option(gyre::v4_multicast_interface(loopback_index())));
        }
        const bool strange = co_await arrives(stranger, only.group, receiver);
        CHECK(!strange);
        const bool known = co_await arrives(chosen, only.group, receiver);
        CHECK(known);
        REQUIRE(receiver.leave(only));
        const bool after = co_await arrives(chosen, only.group, receiver);
        CHECK(!after);
    });
}

TEST_CASE("what is no group cannot be joined") {
    auto socket = gyre::datagram::bind("127.0.0.1:0");
    const auto invalid = gyre::errno_code(EINVAL);
    CHECK(socket.join({.group = "127.0.0.1:0"}).error() == invalid);
    CHECK(socket.join({.group = "unix:@group"}).error() == invalid);
    CHECK(socket.join({.group = gyre::endpoint()}).error() == invalid);
    CHECK(socket.join({.group = "232.0.0.1:0", .source = "[::1]:0"}).error() == invalid);
    CHECK(
        socket.join({.group = "239.0.0.1:0", .interface_index = 99'999}).error() ==
        gyre::errno_code(ENODEV)
    );
}

TEST_CASE("a broadcast is sent by those who asked for it, and received") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("0.0.0.0:0");
        const auto to = gyre::endpoint("127.255.255.255:0").with_port(place_of(receiver).port());
        auto careful = gyre::datagram::unbound(gyre::address_family::ipv4);
        const auto refused = co_await careful.sendto(test::bytes_of("x"), to);
        CHECK(refused.error() == gyre::errno_code(EACCES));

        const gyre::datagram_options loud{.broadcast = true};
        auto sender = gyre::datagram::unbound(gyre::address_family::ipv4, loud);
        const auto sent = co_await sender.sendto(test::bytes_of("to all"), to);
        REQUIRE(sent);
        std::array<std::byte, 16> buffer;
        const auto received = co_await receiver.recv(buffer);
        REQUIRE(received);
        CHECK(received->full() == 6U);
    });
}

TEST_CASE("groups of both families on an interface: joined, heard, not looped, left") {
    // The loopback device carries no IPv6 groups and always loops, so they get a network of their
    // own.
    const std::string said = test::in_child([]() -> std::string {
        if (!enter_own_network()) {
            return "skip: a network of its own cannot be made here";
        }
        const std::uint32_t index = ::if_nametoindex("v0");
        std::string wrong;
        const auto expect = [&](bool holds, const char* what) {
            if (!holds) {
                wrong += what;
                wrong += "\n";
            }
        };
        test::on_every_engine([&]() -> gyre::task<> {
            for (const bool is_ipv6 : {false, true}) {
                gyre::membership group{.group = "239.77.1.9:0", .interface_index = index};
                if (is_ipv6) {
                    group.group = "[ff12::7777]:0";
                }
                const char* any = is_ipv6 ? "[::]:0" : "0.0.0.0:0";
                auto receiver = gyre::datagram::bind(any);
                auto sender = gyre::datagram::bind(any);
                const auto loop = [&](bool on) {
                    return is_ipv6 ? sender.set_option(gyre::v6_multicast_loop(on))
                                   : sender.set_option(gyre::v4_multicast_loop(on));
                };
                const auto chosen =
                    is_ipv6
                        ? sender.set_option(gyre::v6_multicast_interface(static_cast<int>(index)))
                        : sender.set_option(gyre::v4_multicast_interface(index));
                expect(chosen.has_value(), "the interface is chosen");
                const bool before = co_await arrives(sender, group.group, receiver);
                expect(!before, "nothing is heard before the join");
                expect(receiver.join(group).has_value(), "it joins");
                const auto twice = receiver.join(group).error();
                expect(twice == gyre::errno_code(EADDRINUSE), "it joins once");
                const bool during = co_await arrives(sender, group.group, receiver);
                expect(during, "a member hears");
                expect(loop(false).has_value(), "the loop goes off");
                const bool unlooped = co_await arrives(sender, group.group, receiver);
                expect(!unlooped, "nothing is heard without the loop");
                expect(loop(true).has_value(), "the loop goes on");
                const bool looped = co_await arrives(sender, group.group, receiver);
                expect(looped, "a member hears again");
                expect(receiver.leave(group).has_value(), "it leaves");
                const bool after = co_await arrives(sender, group.group, receiver);
                expect(!after, "nothing is heard after it left");
            }
            // The scope of an IPv6 group names the interface as well.
            gyre::membership scoped;
            scoped.group = "[ff12::7777%" + std::to_string(index) + "]:0";
            auto receiver = gyre::datagram::bind("[::]:0");
            auto sender = gyre::datagram::bind("[::]:0");
            expect(receiver.join(scoped).has_value(), "it joins by scope");
            const bool by_scope = co_await arrives(sender, scoped.group, receiver);
            expect(by_scope, "a member by scope hears");
        });
        return wrong;
    });
    if (said.starts_with("skip: ")) {
        test::skip(said.substr(6));
        return;
    }
    CHECK(said == "");
}

TEST_SUITE_END();
