#include <gyre/net/seqpacket.hpp>

#include "support/raw_socket.hpp"
#include "support/test.hpp"

#include <gyre/net/ancillary.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/operation/buffer.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield();
    co_await gyre::yield();
}

// A connection over a listener; or, with less to go wrong, a pair.
gyre::task<gyre::seqpacket_pair> connected() {
    auto listener = gyre::seqpacket_listener::bind("unix:");
    auto client =
        co_await gyre::or_throw(gyre::seqpacket::connect(listener.local_endpoint().value()));
    auto server = co_await gyre::or_throw(listener.accept());
    co_return gyre::seqpacket_pair(std::move(client), std::move(server));
}

gyre::task<> expect_message(gyre::seqpacket& from, std::string_view text) {
    std::array<std::byte, 64> buffer{};
    const auto received = co_await from.recv(buffer);
    REQUIRE(received);
    CHECK(!received->truncated());
    CHECK(test::text_of(std::span(buffer).first(received->stored())) == text);
}

gyre::task<> expect_end(gyre::seqpacket& from) {
    std::array<std::byte, 64> buffer{};
    const auto received = co_await from.recv(buffer);
    CHECK(received.error() == gyre::errc::end_of_stream);
}

std::string scratch_path() {
    return "/tmp/gyre-seqpacket-" + std::to_string(::getpid());
}

} // namespace

TEST_SUITE_BEGIN("net/seqpacket");

TEST_CASE("each receive yields one message, both ways") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await connected();
        for (auto [to, from] :
             {std::pair(&pair.first, &pair.second), std::pair(&pair.second, &pair.first)}) {
            for (const char* text : {"one", "second", "3"}) {
                const auto sent = co_await to->send(test::bytes_of(text));
                CHECK(sent.value_or(0) == std::string_view(text).size());
            }
            co_await expect_message(*from, "one");
            co_await expect_message(*from, "second");
            co_await expect_message(*from, "3");
        }
    });
}

TEST_CASE("a message that is longer than the buffer says how long it was, and the next is whole") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::seqpacket::pair();
        for (const char* text : {"abcdefgh", "next"}) {
            const auto sent = co_await pair.first.send(test::bytes_of(text));
            CHECK(sent);
        }
        std::array<std::byte, 3> buffer{};
        const auto received = co_await pair.second.recv(buffer);
        REQUIRE(received);
        CHECK(received->stored() == 3U);
        CHECK(received->full() == 8U);
        CHECK(received->truncated());
        CHECK(test::text_of(buffer) == "abc");
        co_await expect_message(pair.second, "next");
    });
}

TEST_CASE("an empty message is a message, also in front of the end, which is end_of_stream") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool waits : {false, true}) {
            auto pair = co_await connected();
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    if (!waits) {
                        const auto waited = co_await gyre::sleep_for(1ms);
                        CHECK(waited);
                    }
                    co_await expect_message(pair.second, "");
                    co_await expect_message(pair.second, "");
                    co_await expect_message(pair.second, "x");
                    co_await expect_message(pair.second, "");
                    co_await expect_end(pair.second);
                    co_await expect_end(pair.second);
                });
                if (waits) {
                    co_await until_in_flight(1);
                }
                for (const char* text : {"", "", "x", ""}) {
                    const auto sent = co_await pair.first.send(test::bytes_of(text));
                    CHECK(sent.value_or(9) == std::string_view(text).size());
                }
                const auto closed = co_await pair.first.close();
                CHECK(closed);
            };
            co_await gyre::with_scope(body);
        }
    });
}

TEST_CASE("an empty message that came before the accept is one too") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::seqpacket_listener::bind("unix:");
        auto client = co_await gyre::seqpacket::connect(listener.local_endpoint().value());
        REQUIRE(client);
        const auto sent = co_await client->send(test::bytes_of(""));
        CHECK(sent);
        const auto closed = co_await client->close();
        CHECK(closed);
        auto server = co_await listener.accept();
        REQUIRE(server);
        co_await expect_message(*server, "");
        co_await expect_end(*server);
    });
}

TEST_CASE("with a control buffer of any room, an empty message is told from the end") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::seqpacket::pair();
        for (int count = 0; count < 2; ++count) {
            const auto sent = co_await pair.first.send(test::bytes_of(""));
            CHECK(sent);
        }
        const auto closed = co_await pair.first.close();
        CHECK(closed);
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<8> small;
        const auto first = co_await pair.second.recvmsg(buffer, small);
        REQUIRE(first);
        CHECK(first->full() == 0U);
        CHECK(small.truncated());
        gyre::control_buffer<> usual;
        const auto second = co_await pair.second.recvmsg(buffer, usual);
        REQUIRE(second);
        CHECK(second->full() == 0U);
        CHECK(usual.timestamp().has_value());
        const auto end = co_await pair.second.recvmsg(buffer, usual);
        CHECK(end.error() == gyre::errc::end_of_stream);
        const auto end_too = co_await pair.second.recvmsg(buffer, small);
        CHECK(end_too.error() == gyre::errc::end_of_stream);
    });
}

TEST_CASE("a message is sent whole or not at all") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::seqpacket::pair();
        const auto set = pair.first.set_option(gyre::send_buffer_size(8192));
        REQUIRE(set);
        const std::vector<std::byte> large(1 << 20);
        const auto sent = co_await pair.first.send(large);
        CHECK(sent.error() == gyre::errno_code(EMSGSIZE));
        CHECK(pair.second.bytes_available().value_or(9) == 0U);
        const std::array<gyre::const_buffer, 2> pieces = {
            gyre::const_buffer(test::bytes_of("one ")), gyre::const_buffer(test::bytes_of("two"))
        };
        const auto gathered = co_await pair.first.send(pieces);
        CHECK(gathered.value_or(0) == 7U);
        co_await expect_message(pair.second, "one two");
    });
}

TEST_CASE("a send that waits for room loses nothing, and one that is canceled sends nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::seqpacket::pair();
        const std::vector<std::byte> block(4000, std::byte{7});
        std::size_t queued = 0;
        while (::send(pair.first.native_handle(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
            ++queued;
        }
        std::error_code ended;
        auto canceled = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await pair.first.send(block);
                ended = sent.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(canceled);
        CHECK(ended == gyre::errno_code(ECANCELED));
        std::size_t received = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await pair.first.send(test::bytes_of("last"));
                CHECK(sent.value_or(0) == 4U);
                CHECK(pair.first.shutdown(gyre::shutdown_side::send));
            });
            co_await until_in_flight(1);
            for (; received < queued; ++received) {
                std::vector<std::byte> buffer(8192);
                const auto one = co_await pair.second.recv(buffer);
                REQUIRE(one);
                CHECK(one->full() == block.size());
            }
            co_await expect_message(pair.second, "last");
            co_await expect_end(pair.second);
        };
        co_await gyre::with_scope(body);
        CHECK(received == queued);
    });
}

TEST_CASE("a receive that is canceled leaves what comes later") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::seqpacket::pair();
        std::error_code ended;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 8> buffer{};
                const auto received = co_await pair.second.recv(buffer);
                ended = received.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(ended == gyre::errno_code(ECANCELED));
        const auto sent = co_await pair.first.send(test::bytes_of("later"));
        CHECK(sent);
        co_await expect_message(pair.second, "later");
    });
}

TEST_CASE("a peer that is gone: ECONNRESET if it left messages unread, EPIPE for sends") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::seqpacket::pair();
        const auto sent = co_await pair.first.send(test::bytes_of("unread"));
        CHECK(sent);
        const auto closed = co_await pair.second.close();
        CHECK(closed);
        std::array<std::byte, 8> buffer{};
        const auto received = co_await pair.first.recv(buffer);
        CHECK(received.error() == gyre::errno_code(ECONNRESET));
        co_await expect_end(pair.first);
        const auto refused = co_await pair.first.send(test::bytes_of("x"));
        CHECK(refused.error() == gyre::errno_code(EPIPE));
        CHECK(pair.second.shutdown(gyre::shutdown_side::both).error() == gyre::errno_code(EBADF));
        CHECK(pair.second.peer_endpoint().error() == gyre::errno_code(EBADF));
    });
}

TEST_CASE("descriptors go with messages, and recv takes none") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::seqpacket::pair();
        std::array<int, 2> ends{};
        REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
        const test::raw_socket reader(ends[0]);
        test::raw_socket writer(ends[1]);
        gyre::control_message<> message;
        CHECK(message.add_descriptors(std::span(&ends[1], 1)));
        for (const char* text : {"taken", "not taken"}) {
            const auto sent = co_await pair.first.sendmsg(test::bytes_of(text), message);
            CHECK(sent);
        }
        writer.close();
        std::array<std::byte, 16> buffer{};
        gyre::control_buffer<> control;
        const auto received = co_await pair.second.recvmsg(buffer, control);
        REQUIRE(received);
        CHECK(received->full() == 5U);
        const gyre::owned_descriptor taken = control.take_descriptor();
        CHECK(::write(taken.native_handle(), "x", 1) == 1);
        const auto before = test::open_descriptors();
        co_await expect_message(pair.second, "not taken");
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("types do not mix: EPROTOTYPE, and no other family has seqpacket") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::listen_options removed = {.file = {.remove_on_close = true}};
        auto bytes = gyre::listener::bind("unix:" + scratch_path() + "-bytes", removed);
        auto messages = gyre::seqpacket_listener::bind("unix:" + scratch_path(), removed);
        const auto one = co_await gyre::seqpacket::connect(bytes.local_endpoint().value());
        CHECK(one.error() == gyre::errno_code(EPROTOTYPE));
        const auto other = co_await gyre::stream::connect(messages.local_endpoint().value());
        CHECK(other.error() == gyre::errno_code(EPROTOTYPE));
        // Abstract names are told apart by the type as well.
        auto unnamed = gyre::listener::bind("unix:");
        const auto none = co_await gyre::seqpacket::connect(unnamed.local_endpoint().value());
        CHECK(none.error() == gyre::errno_code(ECONNREFUSED));
        CHECK(!gyre::seqpacket_listener::try_bind("127.0.0.1:0"));
        CHECK(
            gyre::listener::try_adopt(messages.native_handle()).error() ==
            gyre::errno_code(EPROTOTYPE)
        );
        CHECK(
            gyre::seqpacket_listener::try_adopt(bytes.native_handle()).error() ==
            gyre::errno_code(EPROTOTYPE)
        );
        auto pair = gyre::stream::pair();
        CHECK(
            gyre::seqpacket::try_adopt(pair.first.native_handle()).error() ==
            gyre::errno_code(EPROTOTYPE)
        );
    });
}

TEST_CASE("adopted ones, and duplicates, know an empty message as well") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const int mode : {0, int{SOCK_NONBLOCK}}) {
            std::array<int, 2> fds{};
            REQUIRE(
                ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | mode, 0, fds.data()) == 0
            );
            auto adopted = gyre::seqpacket::try_adopt(gyre::owned_descriptor(fds[0]));
            auto other = gyre::seqpacket::try_adopt(fds[1]);
            REQUIRE(adopted);
            REQUIRE(other);
            auto copy = adopted->dup();
            REQUIRE(copy);
            const auto sent = co_await other->send(test::bytes_of(""));
            CHECK(sent);
            co_await expect_message(*copy, "");
            ::close(other->release());
            co_await expect_end(*adopted);
        }
    });
}

TEST_CASE("a seqpacket listener has the options of files, and a backlog") {
    const std::string path = scratch_path();
    const auto at = gyre::endpoint::unix_path(path).value();
    const gyre::listen_options options = {
        .backlog = 3, .file = {.mode = 0600, .remove_on_close = true, .replace_stale = true}
    };
    for (int round = 0; round < 2; ++round) {
        {
            const auto listener = gyre::seqpacket_listener::bind(at, options);
            CHECK(listener.backlog() == 3);
            CHECK(listener.local_endpoint().value() == at);
            CHECK(::access(path.c_str(), F_OK) == 0);
            const auto tried = gyre::seqpacket_listener::try_bind(at, options);
            CHECK(tried.error() == gyre::errno_code(EADDRINUSE));
        }
        CHECK(::access(path.c_str(), F_OK) != 0);
    }
    std::string what;
    try {
        const auto listener = gyre::seqpacket_listener::bind("unix:/nonexistent/x");
    } catch (const std::system_error& error) {
        what = error.what();
    }
    CHECK(
        what == "seqpacket_listener::bind unix:/nonexistent/x: ENOENT: the directory does not exist"
    );
}

TEST_SUITE_END();
