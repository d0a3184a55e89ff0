#include <gyre/net/generic_socket.hpp>

#include "support/test.hpp"

#include <gyre/op.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <unistd.h>

TEST_SUITE_BEGIN("net/generic_socket");

TEST_CASE("a TCP listener and a Unix one, made call by call, become listeners") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const gyre::endpoint& at : {gyre::endpoint("127.0.0.1:0"), gyre::endpoint("unix:")}) {
            auto made = gyre::generic_socket::open(at.raw_family(), SOCK_STREAM);
            CHECK((::fcntl(made.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
            CHECK(made.bind(at));
            CHECK(made.listen(4));
            CHECK(made.option<gyre::accepts_connections>().value());
            auto listener = gyre::listener::try_adopt(made.into_owned());
            REQUIRE(listener);
            CHECK(!made.is_open());
            auto client = co_await gyre::stream::connect(listener->local_endpoint().value());
            REQUIRE(client);
            auto accepted = co_await listener->accept();
            CHECK(accepted);
        }
    });
}

TEST_CASE("a netlink socket answers by way of op::") {
    test::on_every_engine([]() -> gyre::task<> {
        auto made = gyre::generic_socket::open(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
        sockaddr_nl address{};
        address.nl_family = AF_NETLINK;
        gyre::endpoint at;
        std::memcpy(at.data(), &address, sizeof address);
        at.resize(sizeof address);
        CHECK(made.bind(at));
        const auto told = made.local_endpoint();
        REQUIRE(told);
        CHECK(told->raw_family() == AF_NETLINK);
        CHECK(told->family() == gyre::address_family::unspecified);

        struct {
            nlmsghdr header;
            rtgenmsg body;
        } request{};
        request.header.nlmsg_len = sizeof request;
        request.header.nlmsg_type = RTM_GETLINK;
        request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        const auto sent =
            co_await gyre::op::write(made.native_handle(), std::as_bytes(std::span(&request, 1)));
        CHECK(sent.value_or(0) == sizeof request);
        alignas(nlmsghdr) std::array<std::byte, 16384> buffer{};
        const auto received = co_await gyre::op::read(made.native_handle(), buffer);
        REQUIRE(received);
        nlmsghdr first{};
        std::memcpy(&first, buffer.data(), sizeof first);
        CHECK(first.nlmsg_type == RTM_NEWLINK);
    });
}

TEST_CASE("a raw socket sends a ping and sees the reply, where that is permitted") {
    test::on_every_engine([]() -> gyre::task<> {
        auto made = gyre::generic_socket::try_open(AF_INET, SOCK_RAW, IPPROTO_ICMP);
        if (!made) {
            CHECK(made.error() == gyre::errno_code(EPERM));
            std::string_view help;
            try {
                const auto same = gyre::generic_socket::open(AF_INET, SOCK_RAW, IPPROTO_ICMP);
            } catch (const std::system_error& error) {
                help = error.what();
                CHECK(help.find("CAP_NET_RAW") != std::string_view::npos);
            }
            test::skip("raw sockets are not permitted");
            co_return;
        }
        const auto to = gyre::endpoint::loopback_v4(0);
        const auto* address = static_cast<const sockaddr*>(to.data());
        REQUIRE(::connect(made->native_handle(), address, static_cast<socklen_t>(to.size())) == 0);
        icmphdr request{};
        request.type = ICMP_ECHO;
        request.un.echo.id = htons(static_cast<std::uint16_t>(::getpid()));
        request.un.echo.sequence = htons(1);
        // One's complement of the sum of its words.
        std::uint32_t sum = (std::uint32_t{ICMP_ECHO} << 8) + ntohs(request.un.echo.id) + 1;
        sum = (sum & 0xffff) + (sum >> 16);
        request.checksum = htons(static_cast<std::uint16_t>(~sum));
        const auto sent =
            co_await gyre::op::write(made->native_handle(), std::as_bytes(std::span(&request, 1)));
        CHECK(sent.value_or(0) == sizeof request);
        // It sees its own request as well, and the pings of others.
        for (;;) {
            std::array<std::byte, 256> buffer{};
            const auto received = co_await gyre::op::read(made->native_handle(), buffer);
            REQUIRE(received);
            REQUIRE(*received >= 20 + sizeof request);
            icmphdr reply{};
            std::memcpy(&reply, buffer.data() + 20, sizeof reply);
            if (reply.type == ICMP_ECHOREPLY && reply.un.echo.id == request.un.echo.id) {
                break;
            }
        }
    });
}

TEST_CASE("what cannot be made says so, and a closed one answers EBADF") {
    const auto before = test::open_descriptors();
    CHECK(
        gyre::generic_socket::try_open(-1, SOCK_STREAM).error() == gyre::errno_code(EAFNOSUPPORT)
    );
    CHECK_THROWS_AS(static_cast<void>(gyre::generic_socket::open(AF_UNIX, 99)), std::system_error);
    {
        auto made = gyre::generic_socket::adopt(::socket(AF_UNIX, SOCK_STREAM, 0));
        CHECK(made.listen(1).error() == gyre::errno_code(EINVAL));
        CHECK(made.shutdown(gyre::shutdown_side::both));
        ::close(made.release());
        const auto bad = gyre::errno_code(EBADF);
        CHECK(made.bind("unix:").error() == bad);
        CHECK(made.listen(1).error() == bad);
        CHECK(made.shutdown(gyre::shutdown_side::both).error() == bad);
        CHECK(made.peer_endpoint().error() == bad);
        CHECK(!made.into_owned().is_open());
    }
    CHECK(test::open_descriptors() == before);
}

TEST_SUITE_END();
