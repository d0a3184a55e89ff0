#include "samples/echo_client_session.hpp"

#include <gyre/op/descriptor.hpp>

#include "samples/echo_session.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <unistd.h>

TEST_SUITE_BEGIN("samples/echo_client_session");

namespace {

struct os_pipe {
    os_pipe() { REQUIRE(::pipe(ends) == 0); }
    ~os_pipe() {
        ::close(ends[0]);
        close_input();
    }
    os_pipe(const os_pipe&) = delete;
    os_pipe& operator=(const os_pipe&) = delete;
    int output() const noexcept { return ends[0]; }
    int input() const noexcept { return ends[1]; }
    void close_input() {
        if (ends[1] >= 0) {
            ::close(ends[1]);
            ends[1] = -1;
        }
    }
    int ends[2] = {-1, -1};
};

} // namespace

TEST_CASE("more than all buffers hold goes through pipes and comes back the same") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        os_pipe typed;
        os_pipe shown;
        constexpr std::size_t blocks = 400;
        auto body = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn(samples::echo, std::move(pair.server), std::chrono::nanoseconds::max());
            running.spawn([&]() -> gyre::task<gyre::result<void>> {
                const auto ended = co_await samples::echo_client(
                    std::move(pair.client), typed.output(), shown.input()
                );
                shown.close_input();
                co_return ended;
            });
            running.spawn([&]() -> gyre::task<> {
                std::vector<std::byte> block(50'021);
                for (std::size_t number = 0; number < blocks; ++number) {
                    std::fill(block.begin(), block.end(), static_cast<std::byte>(number));
                    std::span<const std::byte> left = block;
                    while (!left.empty()) {
                        const auto written = co_await gyre::op::write(typed.input(), left);
                        if (!written) {
                            co_return;
                        }
                        left = left.subspan(*written);
                    }
                }
                typed.close_input();
            });

            std::vector<std::byte> buffer(65536);
            std::size_t position = 0;
            bool same = true;
            for (;;) {
                const auto count = co_await gyre::op::read(shown.output(), buffer);
                if (!count || *count == 0) {
                    break;
                }
                for (const std::byte each : std::span(buffer).first(*count)) {
                    same = same && each == static_cast<std::byte>(position++ / 50'021);
                }
            }
            CHECK(same);
            CHECK(position == blocks * 50'021);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a server that ends too early is an error, although the input is silent") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        os_pipe typed; // Nobody types anything.
        os_pipe shown;
        auto body = [&](gyre::scope& running) -> gyre::task<> {
            running.spawn([&]() -> gyre::task<> {
                const auto closed = co_await pair.server.close();
                CHECK(closed);
            });
            const auto ended = co_await samples::echo_client(
                std::move(pair.client), typed.output(), shown.input()
            );
            CHECK(ended.error() == gyre::errc::end_of_stream);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("an output that takes nothing more is an error") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        os_pipe typed;
        os_pipe shown;
        const auto sent = co_await gyre::send_all(pair.server, test::bytes_of("to nowhere"));
        REQUIRE(sent);
        const auto ended = co_await samples::echo_client(
            std::move(pair.client), typed.output(), shown.output() // Not for writing.
        );
        CHECK(ended.error() == gyre::errno_code(EBADF));
    });
}

TEST_SUITE_END();
