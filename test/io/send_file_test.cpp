#include <gyre/io/send_file.hpp>

#include "support/raw_engine.hpp"
#include "support/scripted_stream.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

test::raw_fd empty_file() {
    test::raw_fd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    REQUIRE(file >= 0);
    return file;
}

std::byte at(std::uint64_t position) {
    return static_cast<std::byte>(position * 131 + position / 997);
}

// Fills `size` bytes from `offset` on, each of which tells where it is.
void fill(int file, std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t index = 0; index < size; ++index) {
        bytes[index] = at(offset + index);
    }
    REQUIRE(
        ::pwrite(file, bytes.data(), size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size)
    );
}

} // namespace

TEST_SUITE_BEGIN("io/send_file");

TEST_CASE("send_file sends any part of a file, and leaves its position alone") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr std::size_t size = 2'500'000;
        const auto file = empty_file();
        fill(file, 0, size);
        struct part {
            std::uint64_t offset;
            std::uint64_t length;
        };
        for (const part each : {part{0, size}, {1, 1}, {65536, 65536}, {1'234'567, 1'000'000}}) {
            auto pair = co_await test::loopback_pair();
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto sent =
                        co_await gyre::send_file(pair.client, file, each.offset, each.length);
                    CHECK(sent);
                    CHECK(sent.bytes() == each.length);
                    CHECK(pair.client.shutdown(gyre::shutdown_side::send));
                });
                std::vector<std::byte> bytes(each.length + 1);
                const auto received = co_await gyre::recv_exactly(pair.server, bytes);
                CHECK(received.bytes() == each.length);
                CHECK(received.error() == gyre::errc::end_of_stream);
                std::size_t wrong = 0;
                for (std::size_t index = 0; index < each.length; ++index) {
                    wrong += bytes[index] == at(each.offset + index) ? 0U : 1U;
                }
                CHECK(wrong == 0);
            };
            co_await gyre::with_scope(body);
        }
        CHECK(::lseek(file, 0, SEEK_CUR) == 0);
    });
}

TEST_CASE("send_file of much goes through a pipe, and copies where there is none to be had") {
    for (const bool without : {false, true}) {
        INFO("without a pipe: ", without);
        test::on_every_engine([&]() -> gyre::task<> {
            constexpr std::size_t size = 3'000'000;
            const auto file = empty_file();
            fill(file, 0, size);
            auto pair = co_await test::loopback_pair();
            const auto before = test::open_descriptors();
            rlimit limit{};
            REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
            const rlimit kept = limit;
            if (without) {
                limit.rlim_cur = 3;
                REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
            }
            const auto& counted = gyre::scheduler::current();
            const auto splices_before = counted.counters().completions[30].succeeded;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto sent = co_await gyre::send_file(pair.client, file, 0, size);
                    CHECK(sent.bytes() == size);
                });
                std::vector<std::byte> bytes(size);
                const auto received = co_await gyre::recv_exactly(pair.server, bytes);
                CHECK(received);
                std::size_t wrong = 0;
                for (std::size_t index = 0; index < size; ++index) {
                    wrong += bytes[index] == at(index) ? 0U : 1U;
                }
                CHECK(wrong == 0);
            };
            co_await gyre::with_scope(body);
            REQUIRE(::setrlimit(RLIMIT_NOFILE, &kept) == 0);
            const auto splices = counted.counters().completions[30].succeeded - splices_before;
            CHECK((splices == 0) == without);
            CHECK((::fcntl(pair.client.native_handle(), F_GETFL) & O_NONBLOCK) == 0);
            CHECK(test::open_descriptors() == before);
        });
    }
}

TEST_CASE("send_file sends what lies beyond 4 GiB") {
    test::on_every_engine([]() -> gyre::task<> {
        constexpr std::uint64_t offset = (5ULL << 30) + 3;
        const auto file = empty_file();
        fill(file, offset, 1000); // The rest is a hole.
        auto pair = gyre::stream::pair();
        const auto sent = co_await gyre::send_file(pair.first, file, offset, 1000);
        CHECK(sent.bytes() == 1000);
        std::vector<std::byte> bytes(1000);
        const auto received = co_await gyre::recv_exactly(pair.second, bytes);
        CHECK(received);
        CHECK(bytes.front() == at(offset));
        CHECK(bytes.back() == at(offset + 999));
    });
}

TEST_CASE("send_file of nothing sends nothing, and of no file fails") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        const auto nothing = co_await gyre::send_file(pair.first, -1, 0, 0);
        CHECK(nothing);
        CHECK(nothing.bytes() == 0);
        const auto none = co_await gyre::send_file(pair.first, -1, 0, 1);
        CHECK(none.error() == std::errc::bad_file_descriptor);
        const test::raw_fd folder(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        const auto directory = co_await gyre::send_file(pair.first, folder, 0, 1);
        CHECK(directory.error() == std::errc::is_a_directory);
    });
}

TEST_CASE("a file that is truncated while it is sent ends with errc::end_of_stream and a count") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto file = empty_file();
        constexpr std::size_t size = 8'000'000;
        fill(file, 0, size);
        auto pair = gyre::stream::pair();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            bool over = false;
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await gyre::send_file(pair.first, file, 0, size);
                CHECK(sent.error() == gyre::errc::end_of_stream);
                CHECK(sent.bytes() >= 1'000'000);
                CHECK(sent.bytes() < size);
                over = true;
                CHECK(pair.first.shutdown(gyre::shutdown_side::send));
            });
            std::vector<std::byte> bytes(1'000'000);
            const auto first = co_await gyre::recv_exactly(pair.second, bytes);
            CHECK(first);
            CHECK(!over); // The socket does not hold it all.
            REQUIRE(::ftruncate(file, 1'500'000) == 0);
            for (;;) {
                const auto received = co_await pair.second.recv(bytes);
                if (!received || *received == 0) {
                    break;
                }
            }
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("send_file says how much was sent when its peer fails, or when it is canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto file = empty_file();
        fill(file, 0, 300'000);
        test::scripted_stream to;
        to.room = 100'000;
        const auto failed = co_await gyre::send_file(to, file, 0, 300'000);
        CHECK(failed.bytes() == 100'000);
        CHECK(failed.error() == gyre::errno_code(EPIPE));

        auto pair = gyre::stream::pair();
        fill(file, 0, 4'000'000);
        const auto canceled =
            co_await gyre::with_timeout(gyre::send_file(pair.first, file, 0, 4'000'000), 20ms);
        CHECK(canceled.error() == gyre::errc::timed_out);
        CHECK(canceled.bytes() < 4'000'000);
        CHECK(pair.first.shutdown(gyre::shutdown_side::send));
        std::vector<std::byte> bytes(4'000'000);
        const auto received = co_await gyre::recv_exactly(pair.second, bytes);
        CHECK(received.bytes() == canceled.bytes());
    });
}

namespace {

// What still comes until the end of the connection, in bytes.
std::uint64_t rest_of(const gyre::stream& from) {
    std::vector<std::byte> buffer(65536);
    std::uint64_t count = 0;
    for (;;) {
        const ssize_t received = ::recv(from.native_handle(), buffer.data(), buffer.size(), 0);
        if (received <= 0) {
            return count;
        }
        count += static_cast<std::uint64_t>(received);
    }
}

constexpr std::uint64_t more_than_fits = 64'000'000; // Into any pair of sockets.

test::raw_fd large_file() {
    auto file = empty_file();
    REQUIRE(::ftruncate(file, static_cast<off_t>(more_than_fits)) == 0); // All of it a hole.
    return file;
}

} // namespace

TEST_CASE("a stream that is closed while a file is sent to it ends that, and all counted arrives") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto file = large_file();
        const auto before = test::open_descriptors();
        {
            auto pair = co_await test::loopback_pair();
            gyre::transfer ended(0);
            bool over = false;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    ended = co_await gyre::send_file(pair.client, file, 0, more_than_fits);
                    over = true;
                });
                std::vector<std::byte> bytes(1'000'000);
                const auto received = co_await gyre::recv_exactly(pair.server, bytes);
                CHECK(received);
                // It waits for room, or is about to.
                CHECK(!over);
                const auto closed = co_await pair.client.close();
                CHECK(closed);
                const auto joined = co_await scope.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(body);
            CHECK(
                (ended.error() == std::errc::operation_canceled ||
                 ended.error() == std::errc::bad_file_descriptor)
            );
            CHECK(ended.bytes() < more_than_fits);
            CHECK(ended.bytes() == 1'000'000 + rest_of(pair.server));
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("a peer that goes while a file is sent to it ends that with its error, and no signal") {
    for (const bool resets : {false, true}) {
        INFO("resets: ", resets);
        test::on_every_engine([&]() -> gyre::task<> {
            const auto file = large_file();
            const auto before = test::open_descriptors();
            {
                auto pair = co_await test::loopback_pair();
                bool over = false;
                auto body = [&](gyre::scope& scope) -> gyre::task<> {
                    scope.spawn([&]() -> gyre::task<> {
                        const auto sent =
                            co_await gyre::send_file(pair.client, file, 0, more_than_fits);
                        over = true;
                        CHECK(
                            (sent.error() == std::errc::broken_pipe ||
                             sent.error() == std::errc::connection_reset)
                        );
                        CHECK(sent.bytes() >= 1'000'000);
                        CHECK(sent.bytes() < more_than_fits);
                    });
                    std::vector<std::byte> bytes(1'000'000);
                    const auto received = co_await gyre::recv_exactly(pair.server, bytes);
                    CHECK(received);
                    CHECK(!over);
                    if (resets) {
                        const auto rude = pair.server.set_option(gyre::linger(true, 0s));
                        CHECK(rude);
                    } else {
                        // Its end comes first, so that what is sent afterwards is EPIPE.
                        CHECK(pair.server.shutdown(gyre::shutdown_side::send));
                    }
                    const auto closed = co_await pair.server.close();
                    CHECK(closed);
                };
                co_await gyre::with_scope(body);
                CHECK(over);
            }
            CHECK(test::open_descriptors() == before);
        });
    }
}

TEST_SUITE_END();
