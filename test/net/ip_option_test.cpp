#include <gyre/net/ip_option.hpp>

#include <gyre/net/datagram.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <optional>

#include <sys/socket.h>
#include <unistd.h>

namespace {

template <class Option>
typename Option::value_type set_and_read(gyre::datagram& on, const Option& wish) {
    const auto set = on.set_option(wish);
    REQUIRE(set);
    const auto read = on.option<Option>();
    REQUIRE(read);
    return *read;
}

template <class Flag>
void check_flag(gyre::datagram& on) {
    INFO("level ", Flag::level, ", name ", Flag::name);
    for (const bool value : {true, false, true}) {
        CHECK(set_and_read(on, Flag(value)) == value);
    }
}

template <class... Flags>
void check_flags(gyre::datagram& on) {
    (check_flag<Flags>(on), ...);
}

std::optional<gyre::datagram> ipv6_socket() {
    auto made = gyre::datagram::try_bind("[::1]:0");
    if (!made) {
        test::skip("this machine has no IPv6");
        return std::nullopt;
    }
    return *std::move(made);
}

} // namespace

TEST_SUITE_BEGIN("net/ip_option");

TEST_CASE("the options of IPv4 and UDP that are set can be read back") {
    auto socket = gyre::datagram::bind("127.0.0.1:0");
    check_flags<
        gyre::broadcast,
        gyre::receive_timestamps,
        gyre::receive_dropped,
        gyre::v4_receive_packet,
        gyre::v4_receive_time_to_live,
        gyre::v4_receive_type_of_service,
        gyre::v4_receive_original_destination,
        gyre::v4_receive_errors,
        gyre::v4_free_bind,
        gyre::v4_multicast_loop,
        gyre::v4_multicast_all,
        gyre::udp_cork,
        gyre::udp_receive_segments>(socket);
    CHECK(set_and_read(socket, gyre::v4_time_to_live(7)) == 7);
    CHECK(set_and_read(socket, gyre::v4_type_of_service(0x10)) == 0x10);
    CHECK(set_and_read(socket, gyre::v4_multicast_time_to_live(9)) == 9);
    CHECK(set_and_read(socket, gyre::udp_segment_size(1200)) == 1200);
    for (const gyre::mtu_discovery how :
         {gyre::mtu_discovery::off,
          gyre::mtu_discovery::wanted,
          gyre::mtu_discovery::strict,
          gyre::mtu_discovery::probe,
          gyre::mtu_discovery::interface_only,
          gyre::mtu_discovery::omit}) {
        CHECK(set_and_read(socket, gyre::v4_mtu_discovery(how)) == how);
    }
    CHECK(socket.set_option(gyre::v4_time_to_live(1000)).error() == gyre::errno_code(EINVAL));
}

TEST_CASE("the options of IPv6 that are set can be read back") {
    auto socket = ipv6_socket();
    if (!socket) {
        return;
    }
    check_flags<
        gyre::v6_receive_packet,
        gyre::v6_receive_hop_limit,
        gyre::v6_receive_traffic_class,
        gyre::v6_receive_original_destination,
        gyre::v6_receive_errors,
        gyre::v6_free_bind,
        gyre::v6_dont_fragment,
        gyre::v6_multicast_loop,
        gyre::v6_multicast_all>(*socket);
    CHECK(set_and_read(*socket, gyre::v6_hop_limit(7)) == 7);
    CHECK(set_and_read(*socket, gyre::v6_traffic_class(0x10)) == 0x10);
    CHECK(set_and_read(*socket, gyre::v6_multicast_hop_limit(9)) == 9);
    CHECK(set_and_read(*socket, gyre::v6_multicast_interface(1)) == 1);
    CHECK(
        set_and_read(*socket, gyre::v6_mtu_discovery(gyre::mtu_discovery::strict)) ==
        gyre::mtu_discovery::strict
    );
}

TEST_CASE("the MTU of a path is known to a connected socket") {
    auto socket = gyre::datagram::bind("127.0.0.1:0");
    CHECK(socket.option<gyre::v4_path_mtu>().error() == gyre::errno_code(ENOTCONN));
    REQUIRE(socket.connect("127.0.0.1:9"));
    CHECK(socket.option<gyre::v4_path_mtu>().value_or(0) >= 1500);
    if (auto six = ipv6_socket()) {
        REQUIRE(six->connect("[::1]:9"));
        CHECK(six->option<gyre::v6_path_mtu>().value_or(0) >= 1500);
    }
}

TEST_CASE("transparent sockets are for those who may") {
    auto socket = gyre::datagram::bind("127.0.0.1:0");
    const auto set = socket.set_option(gyre::v4_transparent(true));
    CHECK((set || set.error() == gyre::errno_code(EPERM)));
    if (set) {
        CHECK(socket.option<gyre::v4_transparent>().value_or(false));
    }
    if (auto six = ipv6_socket()) {
        const auto also = six->set_option(gyre::v6_transparent(true));
        CHECK((also || also.error() == gyre::errno_code(EPERM)));
    }
}

TEST_CASE("with free_bind a socket is bound to an address that is not there") {
    auto socket = gyre::datagram::unbound(gyre::address_family::ipv4);
    REQUIRE(socket.set_option(gyre::v4_free_bind(true)));
    const auto at = gyre::endpoint("192.0.2.77:0");
    CHECK(
        ::bind(
            socket.native_handle(),
            static_cast<const sockaddr*>(at.data()),
            static_cast<socklen_t>(at.size())
        ) == 0
    );
    CHECK(socket.local_endpoint().value().with_port(0) == at);
}

TEST_SUITE_END();
