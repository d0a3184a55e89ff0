#include <gyre/net/transfer.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <system_error>
#include <type_traits>

static_assert(std::is_trivially_copyable_v<gyre::transfer>);
static_assert(std::is_trivially_destructible_v<gyre::transfer>);
static_assert(!std::is_convertible_v<gyre::transfer, bool>); // Not by accident.

TEST_SUITE_BEGIN("net/transfer");

TEST_CASE("a complete transfer is true, knows its bytes and has no error") {
    const gyre::transfer whole(7);
    CHECK(whole);
    CHECK(whole.bytes() == 7U);
    CHECK(!whole.error());
    CHECK(whole.error() == std::error_code());
}

TEST_CASE("a transfer that ended early is false and keeps both count and error") {
    const gyre::transfer part(3, gyre::errno_code(ECONNRESET));
    CHECK(!part);
    CHECK(part.bytes() == 3U);
    CHECK(part.error() == gyre::errno_code(ECONNRESET));

    const gyre::transfer ended(2, make_error_code(gyre::errc::end_of_stream));
    CHECK(!ended);
    CHECK(ended.error() == gyre::errc::end_of_stream);
}

TEST_CASE("a transfer with an empty code is complete") {
    const gyre::transfer whole(5, std::error_code());
    CHECK(whole);
    CHECK(whole.bytes() == 5U);
    CHECK(!whole.error());
}

TEST_CASE("or_throw makes an exception of a transfer that ended early, else its count") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const std::size_t sent =
            co_await gyre::or_throw(gyre::send_all(pair.client, test::bytes_of("abc")));
        CHECK(sent == 3U);
        const auto ended = pair.client.shutdown(gyre::shutdown_side::send);
        CHECK(ended);
        std::array<std::byte, 8> buffer{};
        std::error_code thrown;
        try {
            co_await gyre::or_throw(gyre::recv_exactly(pair.server, buffer));
        } catch (const std::system_error& error) {
            thrown = error.code();
        }
        CHECK(thrown == gyre::errc::end_of_stream);
    });
}

TEST_CASE("or_return hands the error of a transfer to the caller") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto ended = pair.client.shutdown(gyre::shutdown_side::send);
        CHECK(ended);
        auto exact = [&]() -> gyre::task<gyre::result<std::size_t>> {
            std::array<std::byte, 8> buffer{};
            const std::size_t bytes =
                co_await gyre::or_return(gyre::recv_exactly(pair.server, buffer));
            co_return bytes;
        };
        const auto outcome = co_await exact();
        CHECK(outcome.error() == gyre::errc::end_of_stream);
    });
}

TEST_SUITE_END();
