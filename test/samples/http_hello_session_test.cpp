#include "samples/http_hello_session.hpp"

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

using namespace std::chrono_literals;

namespace {

/// A letter for each request: "g" for GET and "h" for HEAD, in capitals if it is the last one of its
/// connection; and at the end the status of a refusal. The requests come in pieces of which `size_of`
/// tells how long they are, each in memory of just that size.
template <class Size>
std::string read_in_pieces(std::string_view text, Size size_of) {
    std::string made;
    samples::http_requests requests;
    auto last = samples::http_requests::outcome::more;
    while (!text.empty() && last == samples::http_requests::outcome::more) {
        const std::size_t size = std::min<std::size_t>(size_of(), text.size());
        const auto piece = std::make_unique<char[]>(size);
        std::memcpy(piece.get(), text.data(), size);
        text.remove_prefix(size);
        requests.feed({piece.get(), size});
        for (last = requests.next(); last == samples::http_requests::outcome::request;
             last = requests.next()) {
            const bool is_last = !requests.head().keep_alive;
            const char letter = requests.head().head_only ? 'h' : 'g';
            made += is_last ? static_cast<char>(letter - 32) : letter;
        }
    }
    if (last == samples::http_requests::outcome::refused) {
        CHECK(!requests.head().keep_alive);
        made += std::to_string(requests.status());
    }
    return made;
}

std::string read(std::string_view text) {
    const std::string whole = read_in_pieces(text, [&] { return text.size(); });
    for (std::size_t piece = 1; piece <= 40; ++piece) {
        const std::string pieces = read_in_pieces(text, [piece] { return piece; });
        INFO(piece);
        CHECK(pieces == whole);
    }
    return whole;
}

/// With these header lines.
std::string get(const std::string& lines) {
    return "GET / HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n";
}

gyre::task<std::string> all_of(gyre::stream& from) {
    std::string all;
    std::array<std::byte, 65536> buffer;
    for (;;) {
        const auto received = co_await from.recv(buffer);
        if (!received || *received == 0) {
            co_return all;
        }
        all += test::text_of(std::span(buffer).first(*received));
    }
}

std::size_t count_of(std::string_view word, std::string_view text) {
    std::size_t count = 0;
    for (auto at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
        ++count;
    }
    return count;
}

} // namespace

TEST_SUITE_BEGIN("samples/http_hello_session");

TEST_CASE("requests are read the same whatever pieces they come in") {
    CHECK(read(get("") + "HEAD /a%20b HTTP/1.1\nHost: x\n\n" + get("X: y\r\n")) == "ghg");
    CHECK(read("\r\n\r\n" + get("")) == "g");
    CHECK(read(get("").substr(0, 26)) == "");
}

TEST_CASE("the last request of a connection is known") {
    CHECK(read(get("Connection: close\r\n")) == "G");
    CHECK(read(get("Connection: TE, Close\r\n")) == "G");
    CHECK(read(get("Connection: close\r\nConnection: keep-alive\r\n")) == "G");
    CHECK(read(get("Connection: closed\r\n")) == "g");
    CHECK(read("GET / HTTP/1.0\r\n\r\n") == "G");
    CHECK(read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") == "g");
}

TEST_CASE("a body is skipped, and nothing of it is taken for a request") {
    const std::string inner = get("Connection: close\r\n");
    const std::string length = "Content-Length: " + std::to_string(inner.size()) + "\r\n";
    CHECK(read(get(length) + inner + get("")) == "gg");
    CHECK(read(get("Content-Length: 0\r\n") + get("")) == "gg");
    CHECK(read(get("Content-Length: 65536\r\n") + std::string(65536, 'x') + get("")) == "gg");
    CHECK(read(get("Content-Length: 65537\r\n")) == "413");
    CHECK(read(get("Content-Length: 99999999999999999999\r\n")) == "413");
    // It may come, or be left out.
    CHECK(read(get("Expect: 100-continue\r\nContent-Length: 5\r\n")) == "G");
}

TEST_CASE("a body whose end is not beyond doubt is refused") {
    CHECK(read(get("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n") == "411");
    CHECK(read(get("Transfer-Encoding: gzip, chunked\r\n")) == "501");
    CHECK(read(get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")) == "400");
    CHECK(read(get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")) == "400");
    CHECK(read(get("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n")) == "400");
    CHECK(read(get("Transfer-Encoding:\r\n")) == "400");
    CHECK(read("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == "400");
    CHECK(read(get("Content-Length: 5\r\nContent-Length: 5\r\n")) == "400");
    for (const char* value : {"", "-1", "+5", "5x", "0x5", "5, 5", "5 5", "5\rX"}) {
        INFO(value);
        CHECK(read(get("Content-Length: " + std::string(value) + "\r\n")) == "400");
    }
    CHECK(read(get("Transfer-Encoding : chunked\r\n")) == "400");
    CHECK(read(get(" Transfer-Encoding: chunked\r\n")) == "400");
    CHECK(read(get("X: y\rTransfer-Encoding: chunked\r\n")) == "400");
}

TEST_CASE("a head that is none is refused, whatever stands before it") {
    CHECK(read(get("") + "GET / HTTP/1.1\r\n\r\n" + get("")) == "g400");
    CHECK(read("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n") == "400");
    CHECK(read("SSH-2.0-OpenSSH_9.2\r\n") == "400");
    CHECK(read("GET / HTTP/2.0\r\n") == "505");
    CHECK(read("POST / HTTP/1.1\r\n") == "405");
    CHECK(read(get("no colon\r\n")) == "400");
    CHECK(read(get("X: " + std::string("\0", 1) + "\r\n")) == "400");
}

TEST_CASE("a head has 16 KiB at most") {
    const std::size_t around = get("X: \r\n").size();
    CHECK(read(get("X: " + std::string(16384 - around, 'y') + "\r\n")) == "g");
    CHECK(read(get("X: " + std::string(16384 - around + 1, 'y') + "\r\n")) == "431");
    std::string lines;
    for (int count = 0; count < 5000; ++count) {
        lines += "X: y\r\n";
    }
    CHECK(read(get(lines)) == "431");
    CHECK(read("GET /" + std::string(16384, 'x')) == "431");
    CHECK(read(std::string(20000, '\n')) == "431");
}

TEST_CASE("a session answers in order, in full, and ends when it was asked to") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::greeting hello;
        auto pair = co_await test::loopback_pair();
        std::string asked;
        for (int count = 0; count < 500; ++count) {
            asked += get("");
        }
        asked += "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get("");
        std::string all;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn(samples::serve_greetings, std::move(pair.server), std::ref(hello), 20s);
            const auto sent = co_await gyre::send_all(pair.client, test::bytes_of(asked));
            CHECK(sent);
            all = co_await all_of(pair.client);
            const auto closed = co_await pair.client.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(count_of("HTTP/1.1 200 OK\r\n", all) == 501);
        CHECK(count_of("\r\n\r\nHello, World!\n", all) == 500);
        CHECK(count_of("\r\nDate: ", all) == 501);
        CHECK(count_of("Connection: close\r\n", all) == 1);
        CHECK(all.ends_with("\r\n\r\n"));
    });
}

TEST_CASE("a refusal says why and ends the session, after the answers before it") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::greeting hello;
        auto pair = co_await test::loopback_pair();
        const std::string asked = get("") + "POST / HTTP/1.1\r\nHost: x\r\n\r\n" + get("");
        std::string all;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn(samples::serve_greetings, std::move(pair.server), std::ref(hello), 20s);
            const auto sent = co_await gyre::send_all(pair.client, test::bytes_of(asked));
            CHECK(sent);
            all = co_await all_of(pair.client);
            const auto closed = co_await pair.client.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(count_of("HTTP/1.1 200 OK\r\n", all) == 1);
        CHECK(all.find("Hello, World!\nHTTP/1.1 405 Method Not Allowed\r\n") != all.npos);
        CHECK(count_of("Allow: GET, HEAD\r\n", all) == 1);
        CHECK(count_of("Connection: close\r\n", all) == 1);
    });
}

TEST_CASE("a greeting has the date of its second") {
    samples::greeting hello;
    const samples::http_request asked;
    const auto date_of = [&](std::time_t now) {
        std::string reply;
        hello.add_to(reply, asked, now);
        CHECK(reply.ends_with("\r\n\r\nHello, World!\n"));
        return reply.substr(reply.find("Date: ") + 6, 29);
    };
    CHECK(date_of(1000) == "Thu, 01 Jan 1970 00:16:40 GMT");
    CHECK(date_of(1000) == "Thu, 01 Jan 1970 00:16:40 GMT");
    CHECK(date_of(1001) == "Thu, 01 Jan 1970 00:16:41 GMT");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("samples/fuzz");

TEST_CASE("any bytes are the same requests whatever pieces they come in") {
    test::fuzz({}, [](test::trial& round) {
        constexpr std::array<std::string_view, 12> lines = {
            "GET / HTTP/1.1\r\n",
            "HEAD /a HTTP/1.0\r\n",
            "Host: x\r\n",
            "Content-Length: 7\r\n",
            "Content-Length: 30\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Connection: keep-alive\r\n",
            "Expect: 100-continue\r\n",
            "\r\n",
            "\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        for (int repeat = 0; repeat < 50; ++repeat) {
            std::string text;
            for (std::uint64_t count = round.below(20); count != 0; --count) {
                text += lines[round.below(lines.size())];
            }
            for (std::uint64_t change = round.below(2); change != 0 && !text.empty(); --change) {
                text[round.below(text.size())] = static_cast<char>(round.next());
            }
            const auto whole = read_in_pieces(text, [&] { return text.size(); });
            const auto pieces = read_in_pieces(text, [&] { return round.below(50) + 1; });
            round.expect(whole == pieces, "the pieces make a difference");
        }
    });
}

TEST_SUITE_END();
