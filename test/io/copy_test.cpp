#include <gyre/io/copy.hpp>

#include "support/raw_socket.hpp"
#include "support/scripted_stream.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("io/copy");

TEST_CASE("copy moves everything between two connections, and the end is the caller's to pass on") {
    for (const bool splice : {false, true}) {
        INFO("splice: ", splice);
        test::on_every_engine([&]() -> gyre::task<> {
            auto source = co_await test::loopback_pair();
            auto target = co_await test::loopback_pair();
            constexpr std::size_t size = 3'000'000;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    std::vector<std::byte> bytes(size);
                    for (std::size_t at = 0; at < size; ++at) {
                        bytes[at] = test::byte_at(at);
                    }
                    const auto sent = co_await gyre::send_all(source.client, bytes);
                    CHECK(sent);
                    CHECK(source.client.shutdown(gyre::shutdown_side::send));
                });
                scope.spawn([&]() -> gyre::task<> {
                    std::uint64_t taken = 0;
                    const auto copied = co_await gyre::copy(
                        source.server, target.client, {.received = &taken, .splice = splice}
                    );
                    CHECK(copied);
                    CHECK(copied.bytes() == size);
                    CHECK(taken == size);
                    CHECK(target.client.shutdown(gyre::shutdown_side::send));
                });
                std::vector<std::byte> bytes(size + 1);
                const auto received = co_await gyre::recv_exactly(target.server, bytes);
                CHECK(received.bytes() == size);
                CHECK(received.error() == gyre::errc::end_of_stream);
                std::size_t wrong = 0;
                for (std::size_t at = 0; at < size; ++at) {
                    wrong += bytes[at] == test::byte_at(at) ? 0U : 1U;
                }
                CHECK(wrong == 0);
            };
            co_await gyre::with_scope(body);
            for (const gyre::stream* each : {&source.server, &target.client}) {
                CHECK((::fcntl(each->native_handle(), F_GETFL) & O_NONBLOCK) == 0);
            }
        });
    }
}

TEST_CASE("a spliced copy is canceled while it waits to receive and while it waits to send") {
    test::on_every_engine([]() -> gyre::task<> {
        auto source = co_await test::loopback_pair();
        auto target = co_await test::loopback_pair();
        const auto before = test::open_descriptors();
        std::uint64_t taken = 0;
        const gyre::copy_options options = {.received = &taken, .splice = true};
        const auto waiting =
            co_await gyre::with_timeout(gyre::copy(source.server, target.client, options), 5ms);
        CHECK(waiting.error() == gyre::errc::timed_out);
        CHECK(waiting.bytes() == 0);
        CHECK(taken == 0);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const std::vector<std::byte> much(1 << 20, std::byte{'m'});
                for (;;) { // Until nothing takes any more.
                    const auto sent =
                        co_await gyre::with_timeout(gyre::send_all(source.client, much), 200ms);
                    if (!sent) {
                        scope.cancel();
                        co_return;
                    }
                }
            });
            const auto stuck = co_await gyre::copy(source.server, target.client, options);
            CHECK(stuck.error() == std::errc::operation_canceled);
            CHECK(stuck.bytes() <= taken);
            CHECK(taken - stuck.bytes() <= 1 << 20); // What was in the pipe.
            CHECK(target.client.shutdown(gyre::shutdown_side::send));
            std::uint64_t arrived = 0;
            std::vector<std::byte> buffer(65536);
            for (;;) {
                const ssize_t count =
                    ::recv(target.server.native_handle(), buffer.data(), buffer.size(), 0);
                if (count <= 0) {
                    break;
                }
                arrived += static_cast<std::uint64_t>(count);
            }
            CHECK(arrived == stuck.bytes());
        };
        co_await gyre::with_scope(body);
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("a stream that is closed while it is copied from ends the copy, spliced or not") {
    for (const bool splice : {false, true}) {
        INFO("splice: ", splice);
        test::on_every_engine([&]() -> gyre::task<> {
            auto source = co_await test::loopback_pair();
            auto target = co_await test::loopback_pair();
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto copied =
                        co_await gyre::copy(source.server, target.client, {.splice = splice});
                    CHECK(copied.bytes() == 3);
                    // It waits, or is about to.
                    CHECK(
                        (copied.error() == std::errc::operation_canceled ||
                         copied.error() == std::errc::bad_file_descriptor)
                    );
                });
                const auto sent = co_await source.client.send(test::bytes_of("abc"));
                CHECK(sent);
                std::array<std::byte, 3> buffer;
                const auto received = co_await gyre::recv_exactly(target.server, buffer);
                CHECK(received);
                const auto closed = co_await source.server.close();
                CHECK(closed);
            };
            co_await gyre::with_scope(body);
        });
    }
}

TEST_CASE("copy ends at its limit and leaves the rest in the source") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        test::scripted_stream to;
        from.comes("1234567890");
        std::uint64_t received = 99;
        const auto copied =
            co_await gyre::copy(from, to, {.limit = 7, .buffer_size = 3, .received = &received});
        CHECK(copied);
        CHECK(copied.bytes() == 7);
        CHECK(received == 7);
        CHECK(to.taken == "1234567");
        CHECK(!to.ended);
        const auto nothing = co_await gyre::copy(from, to, {.limit = 0});
        CHECK(nothing);
        CHECK(nothing.bytes() == 0);
        const auto rest = co_await gyre::copy(from, to);
        CHECK(rest.bytes() == 3);
        CHECK(to.taken == "1234567890");
    });
}

TEST_CASE("copy says what was delivered and what was received when the target fails") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        test::scripted_stream to;
        from.comes("12345");
        from.comes("67890");
        to.room = 8;
        std::uint64_t received = 0;
        const auto copied = co_await gyre::copy(from, to, {.received = &received});
        CHECK(copied.bytes() == 8);
        CHECK(copied.error() == gyre::errno_code(EPIPE));
        CHECK(received == 10);
    });
}

TEST_CASE("copy says what was delivered before the source failed") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        test::scripted_stream to;
        from.comes("12345");
        from.fails(gyre::errno_code(ECONNRESET));
        const auto copied = co_await gyre::copy(from, to);
        CHECK(copied.bytes() == 5);
        CHECK(copied.error() == gyre::errno_code(ECONNRESET));
        CHECK(to.taken == "12345");
    });
}

TEST_CASE("a cancel while copy receives loses nothing; while it sends, the difference is told") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        test::scripted_stream to;
        from.comes("12345");
        from.waits();
        from.comes("67890");
        std::uint64_t received = 0;
        const auto receiving =
            co_await gyre::with_timeout(gyre::copy(from, to, {.received = &received}), 1ms);
        CHECK(receiving.bytes() == 5);
        CHECK(receiving.error() == gyre::errc::timed_out);
        CHECK(received == 5);
        to.room = 7;
        to.send_ends_by = {};
        const auto sending =
            co_await gyre::with_timeout(gyre::copy(from, to, {.received = &received}), 1ms);
        CHECK(sending.bytes() == 2);
        CHECK(sending.error() == gyre::errc::timed_out);
        CHECK(received == 5);
    });
}

TEST_CASE("copy from a reader begins with what it has and keeps what was not delivered") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        test::scripted_stream to;
        from.comes("head\nbody");
        from.comes("more");
        gyre::buffered_reader source(from);
        const auto head = co_await source.read_line(10);
        CHECK(head.value() == "head");
        const auto part = co_await gyre::copy(source, to, {.limit = 2});
        CHECK(part.bytes() == 2);
        to.room = 6;
        to.send_ends_by = {};
        const auto ended = co_await gyre::with_timeout(gyre::copy(source, to), 1ms);
        CHECK(ended.bytes() == 4);
        CHECK(ended.error() == gyre::errc::timed_out);
        to.room = 1000;
        const auto rest = co_await gyre::copy(source, to);
        CHECK(rest);
        CHECK(to.taken == "bodymore");
    });
}

TEST_CASE("copy to a peer that is gone ends with its error, over TCP") {
    test::on_every_engine([]() -> gyre::task<> {
        auto source = co_await test::loopback_pair();
        auto target = co_await test::loopback_pair();
        const auto closed = co_await target.server.close();
        CHECK(closed);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const std::vector<std::byte> some(4096);
                for (;;) {
                    const auto sent = co_await source.client.send(some);
                    if (!sent) {
                        co_return;
                    }
                }
            });
            const auto copied = co_await gyre::copy(source.server, target.client);
            CHECK(
                (copied.error() == std::errc::broken_pipe ||
                 copied.error() == std::errc::connection_reset)
            );
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();
