#include "samples/udp_echo_session.hpp"

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <string>
#include <vector>

TEST_SUITE_BEGIN("samples/udp_echo_session");

TEST_CASE("every message comes back to its sender as it was, and a cancel ends the session") {
    for (const char* kind : {"127.0.0.1:0", "unix:"}) {
        test::on_every_engine([&]() -> gyre::task<> {
            auto server = gyre::datagram::bind(kind);
            const gyre::endpoint at = server.local_endpoint().value();
            auto one = gyre::datagram::bind(kind);
            auto other = gyre::datagram::bind(kind);
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto ended = co_await samples::echo_messages(server);
                    CHECK(ended.error() == gyre::errno_code(ECANCELED));
                });
                const std::vector<std::string> texts = {"hello", "", std::string(60000, 'x')};
                for (const std::string& text : texts) {
                    for (gyre::datagram* client : {&one, &other}) {
                        const auto sent = co_await client->sendto(test::bytes_of(text), at);
                        CHECK(sent);
                        std::vector<std::byte> buffer(65536);
                        gyre::endpoint from;
                        const auto received = co_await client->recvfrom(buffer, from);
                        REQUIRE(received);
                        const auto bytes = std::span(buffer).first(received->stored());
                        CHECK(test::text_of(bytes) == text);
                        CHECK(from == at);
                    }
                }
                scope.cancel();
            };
            co_await gyre::with_scope(body);
        });
    }
}

TEST_CASE("clients that cannot be answered do not hold up the others") {
    test::on_every_engine([]() -> gyre::task<> {
        auto server = gyre::datagram::bind("unix:");
        const gyre::endpoint at = server.local_endpoint().value();
        auto nameless = gyre::datagram::unbound(gyre::address_family::unix_domain);
        auto silent = gyre::datagram::bind("unix:"); // It never receives.
        auto client = gyre::datagram::bind("unix:");
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto ended = co_await samples::echo_messages(server);
                CHECK(ended.error() == gyre::errno_code(ECANCELED));
            });
            const auto lost = co_await nameless.sendto(test::bytes_of("nobody"), at);
            CHECK(lost);
            {
                auto gone = gyre::datagram::bind("unix:");
                const auto last = co_await gone.sendto(test::bytes_of("gone"), at);
                CHECK(last);
            }
            for (int count = 0; count < 100; ++count) {
                const auto more = co_await silent.sendto(test::bytes_of("more"), at);
                CHECK(more);
            }
            const auto sent = co_await client.sendto(test::bytes_of("me"), at);
            CHECK(sent);
            std::array<std::byte, 16> buffer;
            const auto received = co_await client.recv(buffer);
            REQUIRE(received);
            CHECK(test::text_of(std::span(buffer).first(received->stored())) == "me");
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();
