#include <gyre/net/stream.hpp>

#include "support/test.hpp"

TEST_SUITE_BEGIN("net/stream");

TEST_CASE("recv yields 0 once the peer has closed its sending side") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto closed = pair.client.shutdown(gyre::shutdown_side::send);
        CHECK(closed);

        std::array<std::byte, 16> buffer;
        const auto received = co_await pair.server.recv(buffer);

        REQUIRE(received.has_value());
        CHECK(*received == 0);
    });
}

TEST_SUITE_END();
