#include "samples/file_session.hpp"

#include "samples/http_request.hpp"
#include "support/raw_engine.hpp"
#include "support/scripted_stream.hpp"
#include "support/test.hpp"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

/// What a request is refused with, or 0, and what it says.
struct reading {
    int status;
    samples::http_request request;
};

gyre::task<reading> read(std::string_view text, std::size_t piece = 1000) {
    test::scripted_stream from;
    for (std::size_t at = 0; at < text.size(); at += piece) {
        from.comes(text.substr(at, piece));
    }
    gyre::buffered_reader source(from, {.buffer_size = 8192});
    reading made{-1, {}};
    const auto status = co_await samples::read_request(source, made.request);
    made.status = status.value_or(-1);
    co_return made;
}

class folder {
public:
    folder() {
        REQUIRE(::mkdtemp(path_.data()) != nullptr);
        fd = test::raw_fd(::open(path_.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
        const test::raw_fd file(::openat(fd, "file.txt", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        REQUIRE(::write(file, "0123456789", 10) == 10);
        REQUIRE(::symlinkat("/etc/passwd", fd, "out") == 0);
    }
    ~folder() {
        ::unlinkat(fd, "file.txt", 0);
        ::unlinkat(fd, "out", 0);
        ::rmdir(path_.c_str());
    }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
    test::raw_fd fd;

private:
    std::string path_ = "/tmp/gyre-files-XXXXXX";
};

gyre::task<std::string> all_of(gyre::stream& from) {
    std::string all;
    std::array<std::byte, 4096> buffer;
    for (;;) {
        const auto received = co_await from.recv(buffer);
        if (!received || *received == 0) {
            co_return all;
        }
        all += test::text_of(std::span(buffer).first(*received));
    }
}

} // namespace

TEST_SUITE_BEGIN("samples/file_session");

TEST_CASE("a request is read the same whatever pieces it comes in") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string_view text = "HEAD //a%2Fb%20c?d=%00 HTTP/1.1\r\nhOsT: x\r\nRange: "
                                      " bytes=1-2 \t\r\nConnection: CLOSE\r\nX:\r\n\r\nrest";
        for (std::size_t piece = 1; piece <= text.size(); ++piece) {
            const reading made = co_await read(text, piece);
            CHECK(made.status == 0);
            CHECK(made.request.head_only);
            CHECK(!made.request.keep_alive);
            CHECK(made.request.path == "a/b c");
            CHECK(made.request.range == "bytes=1-2");
        }
    });
}

TEST_CASE("requests that break the rules are refused, each with its status") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string a(4096, 'a');
        const std::pair<std::string, int> cases[] = {
            {"GET / HTTP/1.0\r\n\r\n", 0},
            {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
            {"GET / HTTP/1.1\r\n\r\n", 400},
            {"GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
            {"GET /\r\nHost: x\r\n\r\n", 400},
            {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
            {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
            {"GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
            {"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
            {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
            {"PUT / HTTP/1.1\r\nHost: x\r\n\r\n", 405},
            {"GET / HTTP/3\r\nHost: x\r\n\r\n", 505},
            {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 400},
            {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 0},
            {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
            {"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400},
            {"GET /" + a + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
            {"GET / HTTP/1.1\r\nHost: x\r\nX: " + a + "\r\n\r\n", 431},
            {"GET / HTTP/1.1\r\nHost: x\r\n", -1},
            {"", -1},
        };
        for (const auto& [text, status] : cases) {
            INFO(text.substr(0, 60));
            const reading made = co_await read(text);
            CHECK(made.status == status);
        }
    });
}

TEST_CASE("ranges, with their ends and beyond") {
    const auto part = [](std::string_view text) { return samples::parse_range(text, 10); };
    const auto is =
        [](const std::optional<samples::byte_range>& got, std::uint64_t first, std::uint64_t length
        ) { return got && got->first == first && got->length == length; };
    CHECK(is(part("bytes=0-0"), 0, 1));
    CHECK(is(part("bytes=3-"), 3, 7));
    CHECK(is(part("bytes=3-100"), 3, 7));
    CHECK(is(part("bytes=9-99999999999999999999999"), 9, 1));
    CHECK(is(part("bytes=-4"), 6, 4));
    CHECK(is(part("bytes=-99999999999999999999999"), 0, 10));
    CHECK(part("bytes=10-")->length == 0);
    CHECK(part("bytes=18446744073709551615-18446744073709551615")->length == 0);
    CHECK(part("bytes=-0")->length == 0);
    for (const char* none :
         {"",
          "bytes",
          "bytes=",
          "bytes=-",
          "bytes=5-4",
          "bytes=a-b",
          "bytes=1-2,3-4",
          "lines=1-2",
          "bytes=+1-2",
          "bytes=1 -2",
          "bytes=1"}) {
        INFO(none);
        CHECK(!part(none));
    }
    CHECK(samples::parse_range("bytes=0-", 0)->length == 0);
    CHECK(samples::parse_range("bytes=-5", 0)->length == 0);
}

TEST_CASE("dates are written and read back") {
    CHECK(samples::http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(samples::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777);
    CHECK(!samples::parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT"));
    CHECK(!samples::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT+1"));
}

TEST_CASE("a session answers what was asked before the client ended its side, in order") {
    test::on_every_engine([]() -> gyre::task<> {
        const folder place;
        auto pair = co_await test::loopback_pair();
        const std::string_view asked =
            "GET /file.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=2-4\r\n\r\n"
            "GET /out HTTP/1.1\r\nHost: x\r\n\r\n"
            "HEAD /file.txt HTTP/1.1\r\nHost: x\r\n\r\n"
            "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n";
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of(asked));
        REQUIRE(sent);
        REQUIRE(pair.client.shutdown(gyre::shutdown_side::send));
        std::string all;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const samples::file_settings chosen = {.root = place.fd, .patience = 20s};
            scope.spawn(samples::serve_files, std::move(pair.server), chosen);
            all = co_await all_of(pair.client);
        };
        co_await gyre::with_scope(body);
        const auto partial = all.find("HTTP/1.1 206 ");
        const auto content = all.find("\r\n\r\n234HTTP/1.1 403 ");
        const auto head = all.find("Content-Length: 10\r\n");
        CHECK(partial == 0);
        CHECK(content != all.npos);
        CHECK(head > content);
        CHECK(all.ends_with("\r\n\r\n0123456789"));
    });
}

TEST_CASE("a stop ends a session between two requests, not within an answer") {
    test::on_every_engine([]() -> gyre::task<> {
        const folder place;
        auto pair = co_await test::loopback_pair();
        const auto started = gyre::clock::now();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const samples::file_settings chosen = {.root = place.fd, .patience = 1h};
            scope.spawn(samples::serve_files, std::move(pair.server), chosen);
            co_await gyre::yield();
            const std::string_view asked = "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n";
            const auto sent = co_await gyre::send_all(pair.client, test::bytes_of(asked));
            REQUIRE(sent);
            std::array<std::byte, 1> first;
            const auto begun = co_await pair.client.recv(first);
            REQUIRE(begun);
            scope.request_stop();
            const std::string all = co_await all_of(pair.client);
            CHECK(all.ends_with("\r\n\r\n0123456789"));
            const auto closed = co_await pair.client.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(gyre::clock::now() - started < 1min);
    });
}

TEST_SUITE_END();
