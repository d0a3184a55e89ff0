#include <gyre/io/buffered_reader.hpp>

#include <gyre/detail/frame_pool.hpp>

#include "support/scripted_stream.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;
using test::text_of;
using reader = gyre::buffered_reader<test::scripted_stream>;

namespace {

const auto too_long = gyre::errno_code(EMSGSIZE);

std::string rest_of(const reader& from) {
    return std::string(text_of(from.buffered()));
}

} // namespace

TEST_SUITE_BEGIN("io/buffered_reader");

TEST_CASE("read_line yields lines that end with LF or CR LF, whatever pieces they come in") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string all = "one\r\n\ntwo\n\r\nthree\rstill\r\n";
        for (std::size_t piece = 1; piece <= all.size(); ++piece) {
            INFO("pieces of ", piece);
            test::scripted_stream from;
            for (std::size_t at = 0; at < all.size(); at += piece) {
                from.comes(std::string_view(all).substr(at, piece));
            }
            reader lines(from);
            for (const char* expected : {"one", "", "two", "", "three\rstill"}) {
                const auto line = co_await lines.read_line(100);
                CHECK(line.value() == expected);
            }
            const auto end = co_await lines.read_line(100);
            CHECK(end.error() == gyre::errc::end_of_stream);
        }
    });
}

TEST_CASE("read_line yields a line of just the limit, and EMSGSIZE for a longer one") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const std::string ending : {"\n", "\r\n"}) {
            for (const bool in_one : {true, false}) {
                test::scripted_stream from;
                const std::string all = "12345" + ending + "123456" + ending;
                if (in_one) {
                    from.comes(all);
                } else {
                    for (const char each : all) {
                        from.comes(std::string(1, each));
                    }
                }
                reader lines(from);
                const auto fits = co_await lines.read_line(5);
                CHECK(fits.value() == "12345");
                for (int again = 0; again < 2; ++again) {
                    const auto longer = co_await lines.read_line(5);
                    CHECK(longer.error() == too_long);
                }
                // Nothing was lost, and a larger limit finds it.
                CHECK(rest_of(lines).substr(0, 6) == "123456");
                const auto line = co_await lines.read_line(6);
                CHECK(line.value() == "123456");
            }
        }
    });
}

TEST_CASE("read_line says so when no line end fits the buffer, and waits for no more bytes") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("12345678");
        from.waits();
        reader lines(from, {.buffer_size = 8});
        const auto longer = co_await lines.read_line(std::numeric_limits<std::size_t>::max());
        CHECK(longer.error() == too_long);
        CHECK(rest_of(lines) == "12345678");
        // As soon as it is sure, and not before.
        test::scripted_stream slow;
        slow.comes("123");
        slow.comes("\r");
        slow.comes("x");
        slow.waits();
        reader of_slow(slow);
        const auto sure = co_await of_slow.read_line(3);
        CHECK(sure.error() == too_long);
        CHECK(rest_of(of_slow) == "123\rx");
    });
}

TEST_CASE("an end in the middle of a line leaves what came, and later calls say the same") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("whole\npart");
        reader lines(from);
        const auto whole = co_await lines.read_line(100);
        CHECK(whole.value() == "whole");
        for (int again = 0; again < 2; ++again) {
            const auto part = co_await lines.read_line(100);
            CHECK(part.error() == gyre::errc::end_of_stream);
            CHECK(rest_of(lines) == "part");
        }
        std::array<std::byte, 16> buffer;
        const auto left = co_await lines.read(buffer);
        CHECK(left.value() == 4);
        const auto end = co_await lines.read(buffer);
        CHECK(end.value() == 0);
    });
}

TEST_CASE("an error behind bytes is told once, and the bytes are there before and after") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto reset = gyre::errno_code(ECONNRESET);
        test::scripted_stream from;
        from.comes("first\nsec");
        from.fails(reset);
        from.comes("ond\n");
        reader lines(from);
        const auto first = co_await lines.read_line(100);
        CHECK(first.value() == "first");
        const auto failed = co_await lines.read_line(100);
        CHECK(failed.error() == reset);
        CHECK(rest_of(lines) == "sec");
        const auto second = co_await lines.read_line(100);
        CHECK(second.value() == "second");
    });
}

TEST_CASE("a cancel loses no byte of any call") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        reader source(from, {.buffer_size = 64});
        const auto soon = 1ms;

        from.comes("li");
        from.waits();
        from.comes("ne\n");
        const auto line = co_await gyre::with_timeout(source.read_line(50), soon);
        CHECK(line.error() == gyre::errc::timed_out);
        CHECK(rest_of(source) == "li");
        const auto whole = co_await source.read_line(50);
        CHECK(whole.value() == "line");

        from.comes("a--");
        from.waits();
        from.comes("-|b");
        const auto piece = co_await gyre::with_timeout(source.read_until("---|", 50), soon);
        CHECK(piece.error() == gyre::errc::timed_out);
        const auto found = co_await source.read_until("---|", 50);
        CHECK(text_of(found.value()) == "a---|");

        from.waits();
        from.comes("cd");
        const auto peeked = co_await gyre::with_timeout(source.peek(3), soon);
        CHECK(peeked.error() == gyre::errc::timed_out);
        CHECK(rest_of(source) == "b");
        const auto three = co_await source.peek(3);
        CHECK(text_of(three.value()) == "bcd");

        from.waits();
        from.comes("efgh");
        std::array<std::byte, 5> buffer;
        const auto exact = co_await gyre::with_timeout(source.read_exactly(buffer), soon);
        CHECK(exact.bytes() == 3);
        CHECK(exact.error() == gyre::errc::timed_out);
        CHECK(text_of(std::span(buffer).first(3)) == "bcd");
        const auto two = co_await source.read_exactly(std::span(buffer).subspan(3));
        CHECK(two);
        CHECK(text_of(buffer) == "bcdef");

        from.waits();
        from.comes("ij");
        const auto skipped = co_await gyre::with_timeout(source.skip(3), soon);
        CHECK(skipped.bytes() == 2);
        CHECK(skipped.error() == gyre::errc::timed_out);
        const auto one = co_await source.skip(1);
        CHECK(one);
        CHECK(rest_of(source) == "j");
    });
}

TEST_CASE("what is buffered is had in a canceled scope too, and nothing else is") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("one\ntwo\nthr");
        reader lines(from);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto one = co_await lines.read_line(100);
            CHECK(one.value() == "one");
            scope.cancel();
            const auto two = co_await lines.read_line(100);
            CHECK(two.value() == "two");
        };
        co_await gyre::with_scope(body);
        CHECK(rest_of(lines) == "thr");
    });
}

TEST_CASE("read_until finds a delimiter that comes in pieces, and what looks like one") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string all = "head\r\n\r\r\n\r\nnext\r\n\r\n";
        for (std::size_t piece = 1; piece <= all.size(); ++piece) {
            INFO("pieces of ", piece);
            test::scripted_stream from;
            for (std::size_t at = 0; at < all.size(); at += piece) {
                from.comes(std::string_view(all).substr(at, piece));
            }
            reader source(from);
            const auto first = co_await source.read_until("\r\n\r\n", 100);
            CHECK(text_of(first.value()) == "head\r\n\r\r\n\r\n");
            const auto second = co_await source.read_until("\r\n\r\n", 8);
            CHECK(text_of(second.value()) == "next\r\n\r\n");
            const auto end = co_await source.read_until("\r\n\r\n", 100);
            CHECK(end.error() == gyre::errc::end_of_stream);
        }
    });
}

TEST_CASE("read_until keeps to its limit and to its buffer, and loses nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("123456;78");
        from.waits();
        reader source(from, {.buffer_size = 9});
        const auto beyond = co_await source.read_until(";", 6);
        CHECK(beyond.error() == too_long);
        const auto just = co_await source.read_until(";", 7);
        CHECK(text_of(just.value()) == "123456;");
        const auto nothing = co_await gyre::with_timeout(source.read_until("#", 100), 1ms);
        CHECK(nothing.error() == gyre::errc::timed_out);
        CHECK(rest_of(source) == "78");
        from.comes("9abcdefgh");
        const auto full = co_await source.read_until("#", 100);
        CHECK(full.error() == too_long);
        CHECK(rest_of(source) == "789abcdef");
    });
}

TEST_CASE("peek takes nothing, and is bounded by the buffer") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("12");
        from.comes("34");
        reader source(from, {.buffer_size = 4});
        for (int again = 0; again < 2; ++again) {
            const auto seen = co_await source.peek(3);
            CHECK(text_of(seen.value()) == "123");
        }
        const auto beyond = co_await source.peek(5);
        CHECK(beyond.error() == too_long);
        const auto none = co_await source.peek(0);
        CHECK(none.value().empty());
        source.consume(3);
        const auto ended = co_await source.peek(2);
        CHECK(ended.error() == gyre::errc::end_of_stream);
        CHECK(rest_of(source) == "4");
        source.consume(100);
        CHECK(source.buffered().empty());
    });
}

TEST_CASE("read_exactly and skip go beyond the buffer, and say how far they came") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string much(100'000, 'm');
        test::scripted_stream from;
        from.comes("ab" + much + "cd" + much + "ef");
        reader source(from, {.buffer_size = 16});
        const auto peeked = co_await source.peek(2);
        CHECK(peeked);
        std::vector<std::byte> buffer(2 + much.size());
        const auto exact = co_await source.read_exactly(buffer);
        CHECK(exact);
        CHECK(text_of(buffer) == "ab" + much);
        const auto skipped = co_await source.skip(2 + much.size());
        CHECK(skipped.bytes() == 2 + much.size());
        std::array<std::byte, 4> more;
        const auto short_of = co_await source.read_exactly(more);
        CHECK(short_of.bytes() == 2);
        CHECK(short_of.error() == gyre::errc::end_of_stream);
        CHECK(text_of(std::span(more).first(2)) == "ef");
        const auto beyond = co_await source.skip(1);
        CHECK(beyond.bytes() == 0);
        CHECK(beyond.error() == gyre::errc::end_of_stream);
    });
}

TEST_CASE("read yields what is buffered without a receive, and a large one goes past the buffer") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("x123");
        from.comes(std::string(50, 'y'));
        reader source(from, {.buffer_size = 8});
        const auto one = co_await source.skip(1);
        CHECK(one);
        std::array<std::byte, 64> buffer;
        const int receives = from.receives;
        const auto there = co_await source.read(buffer);
        CHECK(there.value() == 3);
        CHECK(from.receives == receives);
        const auto large = co_await source.read(buffer);
        CHECK(large.value() == 50);
        const auto end = co_await source.read(buffer);
        CHECK(end.value() == 0);
    });
}

TEST_CASE("a view stays as it is until the next call") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("first\nsecond\n");
        reader lines(from, {.buffer_size = 14});
        const auto first = co_await lines.read_line(10);
        CHECK(first.value() == "first");
        CHECK(rest_of(lines) == "second\n");
        CHECK(first.value() == "first");
    });
}

TEST_CASE("what is buffered takes no coroutine, whatever the call") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream from;
        from.comes("line\nuntil;123456789");
        reader source(from);
        const auto all = co_await source.peek(20);
        CHECK(all);
        gyre::detail::frame_pool::drain(); // A frame that comes and goes would be kept.
        const auto line = co_await source.read_line(10);
        const auto piece = co_await source.read_until(";", 10);
        const auto peeked = co_await source.peek(3);
        const auto skipped = co_await source.skip(1);
        std::array<std::byte, 2> buffer;
        const auto exact = co_await source.read_exactly(buffer);
        const auto some = co_await source.read(buffer);
        CHECK(gyre::detail::frame_pool::kept() == 0);
        CHECK((line && piece && peeked && skipped && exact && some));
        CHECK(text_of(buffer) == "45");
    });
}

TEST_CASE("lines over a TCP connection, many at a time, take one receive for many") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        constexpr int count = 20'000;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::string all;
                for (int number = 0; number < count; ++number) {
                    all += "line " + std::to_string(number) + "\r\n";
                }
                const auto sent = co_await gyre::send_all(pair.client, test::bytes_of(all));
                CHECK(sent);
                CHECK(pair.client.shutdown(gyre::shutdown_side::send));
            });
            gyre::buffered_reader lines(pair.server);
            const auto before = gyre::scheduler::current().counters();
            int wrong = 0;
            for (int number = 0; number < count; ++number) {
                const auto line = co_await lines.read_line(80);
                wrong += line.value_or("") == "line " + std::to_string(number) ? 0 : 1;
            }
            CHECK(wrong == 0);
            const auto end = co_await lines.read_line(80);
            CHECK(end.error() == gyre::errc::end_of_stream);
            const auto after = gyre::scheduler::current().counters();
            CHECK(after.submissions - before.submissions < count / 10);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();
