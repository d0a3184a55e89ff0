#include <gyre/format.hpp> // IWYU pragma: keep (its formatters are found, not named)

#include <gyre/error.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstddef>
#include <string>

namespace {

using gyre::result;

TEST_SUITE_BEGIN("format");

TEST_CASE("an endpoint formats as its text") {
    CHECK(fmt::format("{}", gyre::endpoint("127.0.0.1:7000")) == "127.0.0.1:7000");
    CHECK(fmt::format("{}", gyre::endpoint("unix:@echo")) == "unix:@echo");
}

TEST_CASE("width, fill and alignment apply to the whole text") {
    CHECK(fmt::format("{:*>12}|", gyre::endpoint("[::1]:7000")) == "**[::1]:7000|");
    CHECK(fmt::format("{:12}|", gyre::endpoint("[::1]:7000")) == "[::1]:7000  |");
}

TEST_CASE("a result with a value formats as the value does") {
    CHECK(fmt::format("{}", result<int>(42)) == "42");
    CHECK(fmt::format("{:#06x}", result<int>(42)) == "0x002a");
    CHECK(fmt::format("{}", result<std::string>("text")) == "text");
    CHECK(fmt::format("{}", result<gyre::endpoint>(gyre::endpoint("[::1]:1"))) == "[::1]:1");
    CHECK(fmt::format("{}", result<void>()) == "success");
}

TEST_CASE("a result with an error formats as the error's name and meaning") {
    const auto reset = gyre::errno_code(ECONNRESET);

    CHECK(fmt::format("{}", result<int>(reset)) == "ECONNRESET: Connection reset by peer");
    CHECK(fmt::format("{:#06x}", result<int>(reset)) == "ECONNRESET: Connection reset by peer");
    CHECK(fmt::format("{}", result<void>(reset)) == "ECONNRESET: Connection reset by peer");
    CHECK(
        fmt::format("{}", result<std::size_t>(gyre::errc::timed_out)) ==
        "timed_out: the time limit passed"
    );
}

TEST_CASE("an errc formats as its name and meaning") {
    CHECK(fmt::format("{}", gyre::errc::closed) == "closed: the scheduler has ended");
}

TEST_CASE("a transfer formats as its bytes and what ended it") {
    CHECK(fmt::format("{}", gyre::transfer(0)) == "0 bytes");
    CHECK(fmt::format("{}", gyre::transfer(1)) == "1 byte");
    CHECK(fmt::format("{}", gyre::transfer(512)) == "512 bytes");
    CHECK(
        fmt::format("{}", gyre::transfer(100, gyre::errno_code(ECONNRESET))) ==
        "100 bytes, then ECONNRESET: Connection reset by peer"
    );
}

TEST_SUITE_END();

} // namespace
