#include "samples/socks5_session.hpp"

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

std::string asking_for(const gyre::endpoint& where) {
    std::string bytes("\x05\x01\x00\x05\x01\x00\x01", 7);
    for (const std::uint8_t each : where.address()) {
        bytes += static_cast<char>(each);
    }
    bytes += static_cast<char>(where.port() >> 8);
    bytes += static_cast<char>(where.port() & 0xff);
    return bytes;
}

gyre::task<std::string> next(gyre::stream& from, std::size_t size) {
    std::string bytes(size, '\0');
    const auto received =
        co_await gyre::recv_exactly(from, std::as_writable_bytes(std::span(bytes)));
    bytes.resize(received.bytes());
    co_return bytes;
}

} // namespace

TEST_SUITE_BEGIN("samples/socks5_session");

TEST_CASE("each side may end its direction first, and the other one goes on") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool client_first : {true, false}) {
            auto pair = co_await test::loopback_pair();
            gyre::stream& client = pair.client;
            auto listener = gyre::listener::bind("127.0.0.1:0");
            const auto at = listener.local_endpoint();
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn(samples::socks5, std::move(pair.server), 20s);
                // Its first bytes come with the request.
                const std::string asked = asking_for(*at) + "early";
                const auto sent = co_await gyre::send_all(client, test::bytes_of(asked));
                CHECK(sent);
                auto target = co_await gyre::or_throw(listener.accept());
                const std::string early = co_await next(target, 5);
                CHECK(early == "early");
                const std::string reply = co_await next(client, 12);
                CHECK(reply.substr(0, 6) == std::string("\x05\x00\x05\x00\x00\x01", 6));
                CHECK(
                    samples::port_of(std::string_view(reply).substr(10)) ==
                    target.peer_endpoint().value().port()
                );

                gyre::stream& first = client_first ? client : target;
                gyre::stream& second = client_first ? target : client;
                CHECK(first.shutdown(gyre::shutdown_side::send));
                std::array<std::byte, 8> buffer;
                const auto end = co_await second.recv(buffer);
                CHECK(end.value() == 0);
                const std::vector<std::byte> much(300'000, std::byte{'m'});
                scope.spawn([&]() -> gyre::task<> {
                    const auto taken = co_await gyre::send_all(second, much);
                    CHECK(taken);
                    CHECK(second.shutdown(gyre::shutdown_side::send));
                });
                std::vector<std::byte> back(much.size() + 1);
                const auto received = co_await gyre::recv_exactly(first, back);
                CHECK(received.bytes() == much.size());
                CHECK(received.error() == gyre::errc::end_of_stream);
                const auto joined = co_await scope.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(body);
        }
    });
}

TEST_CASE("a target that resets its connection is no clean end for the client") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        gyre::stream& client = pair.client;
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn(samples::socks5, std::move(pair.server), 20s);
            const std::string asked = asking_for(*at);
            const auto sent = co_await gyre::send_all(client, test::bytes_of(asked));
            CHECK(sent);
            auto target = co_await gyre::or_throw(listener.accept());
            const std::string reply = co_await next(client, 12);
            CHECK(reply.size() == 12);
            const gyre::linger reset(true, 0s);
            CHECK(target.set_option(reset));
            const auto closed = co_await target.close();
            CHECK(closed);
            std::array<std::byte, 8> buffer;
            const auto end = co_await client.recv(buffer);
            CHECK(end.error() == std::errc::connection_reset);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("errors are told by the code that stands for them") {
    using samples::reply_for;
    using samples::socks_reply;
    CHECK(reply_for(gyre::errno_code(ECONNREFUSED)) == socks_reply::refused);
    CHECK(reply_for(gyre::errno_code(ENETUNREACH)) == socks_reply::network_unreachable);
    CHECK(reply_for(gyre::errno_code(EHOSTUNREACH)) == socks_reply::host_unreachable);
    CHECK(reply_for(gyre::errno_code(ETIMEDOUT)) == socks_reply::host_unreachable);
    CHECK(reply_for(gyre::errc::timed_out) == socks_reply::host_unreachable);
    CHECK(reply_for(gyre::resolve_errc::no_name) == socks_reply::host_unreachable);
    CHECK(reply_for(gyre::errno_code(EMFILE)) == socks_reply::failed);
}

TEST_SUITE_END();
