#include <gyre/net/batch.hpp>

#include <gyre/net/datagram.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <sys/socket.h>

namespace {

gyre::endpoint place_of(const gyre::datagram& which) {
    return which.local_endpoint().value();
}

gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield();
}

// Messages that tell their place.
struct numbered_messages {
    explicit numbered_messages(std::size_t count, const gyre::endpoint* to = nullptr) {
        for (std::size_t index = 0; index < count; ++index) {
            texts.push_back(index % 7 == 3 ? std::string() : "message " + std::to_string(index));
        }
        for (const std::string& text : texts) {
            messages.push_back({.bytes = test::bytes_of(text), .to = to});
        }
    }
    std::vector<std::string> texts;
    std::vector<gyre::outgoing_message> messages;
};

struct room_for {
    explicit room_for(std::size_t count, std::size_t size = 64)
        : memory(count * size), messages(count) {
        for (std::size_t index = 0; index < count; ++index) {
            messages[index].buffer = std::span(memory).subspan(index * size, size);
        }
    }
    std::string_view text(std::size_t index) const {
        const gyre::incoming_message& message = messages[index];
        return test::text_of(message.buffer.first(message.size.stored()));
    }
    std::vector<std::byte> memory;
    std::vector<gyre::incoming_message> messages;
};

} // namespace

TEST_SUITE_BEGIN("net/batch");

TEST_CASE("a batch is sent and received in order, with its senders, more than one call takes") {
    for (const char* kind : {"127.0.0.1:0", "unix:"}) {
        test::on_every_engine([&]() -> gyre::task<> {
            constexpr std::size_t count = 100;
            auto receiver = gyre::datagram::bind(kind);
            auto sender = gyre::datagram::bind(kind);
            const gyre::endpoint at = place_of(receiver);
            const numbered_messages out(count, &at);
            std::size_t right = 0;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto sent = co_await sender.send_batch(out.messages);
                    CHECK(sent);
                    CHECK(sent.count() == count);
                });
                while (right < count) {
                    room_for in(40);
                    const auto received = co_await receiver.recv_batch(in.messages);
                    REQUIRE(received);
                    REQUIRE(received.count() > 0U);
                    for (std::size_t index = 0; index < received.count(); ++index) {
                        REQUIRE(in.text(index) == out.texts[right]);
                        CHECK(in.messages[index].sender == place_of(sender));
                        ++right;
                    }
                }
            };
            co_await gyre::with_scope(body);
            CHECK(right == count);
        });
    }
}

TEST_CASE("receiving a batch takes all that is there, with the full length of what is cut") {
    test::on_every_engine([]() -> gyre::task<> {
        // Unix sockets deliver within the send.
        auto receiver = gyre::datagram::bind("unix:");
        auto sender = gyre::datagram::bind("unix:");
        REQUIRE(sender.connect(place_of(receiver)));
        CHECK(sender.try_send(test::bytes_of("0123456789")));
        CHECK(sender.try_send(test::bytes_of("")));
        CHECK(sender.try_send(test::bytes_of("abc")));
        room_for in(5, 4);
        const auto received = co_await receiver.recv_batch(in.messages);
        REQUIRE(received);
        REQUIRE(received.count() == 3U);
        CHECK(in.text(0) == "0123");
        CHECK(in.messages[0].size.full() == 10U);
        CHECK(in.messages[0].size.truncated());
        CHECK(in.messages[1].size.full() == 0U);
        CHECK(in.text(2) == "abc");
        CHECK(!in.messages[2].size.truncated());
    });
}

TEST_CASE("receiving a batch waits for the first message, and takes those that came with it") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("127.0.0.1:0");
        auto sender = gyre::datagram::bind("127.0.0.1:0");
        const gyre::endpoint at = place_of(receiver);
        std::vector<std::string> seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                while (seen.size() < 3) {
                    room_for in(8);
                    const auto received = co_await receiver.recv_batch(in.messages);
                    REQUIRE(received);
                    REQUIRE(received.count() != 0U);
                    for (std::size_t index = 0; index < received.count(); ++index) {
                        seen.emplace_back(in.text(index));
                        CHECK(in.messages[index].sender == place_of(sender));
                    }
                }
            });
            co_await until_in_flight(1);
            for (const std::string_view text : {"one", "two", "three"}) {
                CHECK(sender.try_sendto(test::bytes_of(text), at));
            }
        };
        co_await gyre::with_scope(body);
        CHECK(seen == std::vector<std::string>{"one", "two", "three"});
    });
}

TEST_CASE("a batch to a full Unix receiver waits, loses nothing and keeps its order") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool connects : {true, false}) {
            constexpr std::size_t count = 150;
            auto receiver = gyre::datagram::bind("unix:");
            const gyre::endpoint at = place_of(receiver);
            auto sender = gyre::datagram::bind("unix:");
            if (connects) {
                REQUIRE(sender.connect(at));
            }
            const numbered_messages out(count, connects ? nullptr : &at);
            std::size_t right = 0;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto sent = co_await sender.send_batch(out.messages);
                    CHECK(sent);
                    CHECK(sent.count() == count);
                });
                co_await until_in_flight(1);
                std::array<std::byte, 64> buffer;
                for (std::size_t index = 0; index < count; ++index) {
                    const auto received = co_await receiver.recv(buffer);
                    REQUIRE(received);
                    const auto bytes = std::span(buffer).first(received->stored());
                    right += test::text_of(bytes) == out.texts[index] ? 1U : 0U;
                }
            };
            co_await gyre::with_scope(body);
            CHECK(right == count);
        }
    });
}

TEST_CASE("a batch that is canceled halfway says how many were sent") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("unix:");
        const gyre::endpoint at = place_of(receiver);
        auto sender = gyre::datagram::bind("unix:");
        const numbered_messages out(5000, &at);
        std::optional<gyre::batch> outcome;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                auto sent = co_await sender.send_batch(out.messages);
                outcome.emplace(sent);
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        REQUIRE(outcome.has_value());
        CHECK(outcome->error() == gyre::errno_code(ECANCELED));
        CHECK(outcome->count() > 0U);
        std::array<std::byte, 64> buffer;
        std::size_t arrived = 0;
        while (receiver.try_recv(buffer)) {
            ++arrived;
        }
        CHECK(arrived == outcome->count());
    });
}

TEST_CASE("the first message that cannot be sent ends a batch, and what went before counts") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("127.0.0.1:0");
        auto sender = gyre::datagram::bind("127.0.0.1:0");
        const gyre::endpoint at = place_of(receiver);
        numbered_messages out(10, &at);
        const std::vector<std::byte> large(1 << 20);
        out.messages[4].bytes = large;

        const auto sent = co_await sender.send_batch(out.messages);
        CHECK(sent.count() == 4U);
        CHECK(sent.error() == gyre::errno_code(EMSGSIZE));
        out.messages[0].bytes = large;
        const auto none = co_await sender.send_batch(out.messages);
        CHECK(none.count() == 0U);
        CHECK(none.error() == gyre::errno_code(EMSGSIZE));
        const auto nothing = co_await sender.send_batch({});
        CHECK(nothing);
        CHECK(nothing.count() == 0U);
    });
}

TEST_CASE("receiving a batch can be canceled, refused, and told not to wait") {
    test::on_every_engine([]() -> gyre::task<> {
        auto receiver = gyre::datagram::bind("127.0.0.1:0");
        room_for in(4);
        const auto now = co_await receiver.recv_batch(in.messages, MSG_DONTWAIT);
        CHECK(now.error() == gyre::errno_code(EAGAIN));
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto received = co_await receiver.recv_batch(in.messages);
                CHECK(received.count() == 0U);
                seen = received.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
            const auto refused = co_await receiver.recv_batch(in.messages);
            CHECK(refused.error() == gyre::errno_code(ECANCELED));
            const auto unsent = co_await receiver.send_batch({});
            CHECK(unsent.error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        const auto closed = co_await receiver.close();
        CHECK(closed);
        const auto bad = co_await receiver.recv_batch(in.messages);
        CHECK(bad.error() == gyre::errno_code(EBADF));
    });
}

TEST_CASE("a refusal of an earlier message is told by a batch, once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto peer = std::make_optional(gyre::datagram::bind("127.0.0.1:0"));
        auto socket = gyre::datagram::bind("127.0.0.1:0");
        REQUIRE(socket.connect(place_of(*peer)));
        peer.reset();
        room_for in(4);
        CHECK(socket.try_send(test::bytes_of("anybody?")));
        const auto refused = co_await socket.recv_batch(in.messages);
        CHECK(refused.count() == 0U);
        CHECK(refused.error() == gyre::errno_code(ECONNREFUSED));
        const auto nothing = co_await socket.recv_batch(in.messages, MSG_DONTWAIT);
        CHECK(nothing.error() == gyre::errno_code(EAGAIN));
    });
}

TEST_SUITE_END();
