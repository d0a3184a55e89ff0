#include <gyre/io/buffered_writer.hpp>

#include "support/scripted_stream.hpp"
#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>

using namespace std::chrono_literals;
using writer = gyre::buffered_writer<test::scripted_stream>;

TEST_SUITE_BEGIN("io/buffered_writer");

TEST_CASE("small writes are sent together, by the flush and not before") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream to;
        writer out(to);
        for (const char* word : {"one ", "", "two ", "three"}) {
            const auto written = co_await out.write(word);
            CHECK(written);
            CHECK(written.bytes() == std::string_view(word).size());
        }
        CHECK(to.sends == 0);
        CHECK(out.buffered() == 13);
        const auto flushed = co_await out.flush();
        CHECK(flushed);
        CHECK(flushed.bytes() == 13);
        CHECK(to.taken == "one two three");
        CHECK(to.sends == 1);
        CHECK(out.sent() == 13);
        const auto nothing = co_await out.flush();
        CHECK(nothing);
        CHECK(to.sends == 1);
    });
}

TEST_CASE("writes of any size arrive in order, however little the stream takes at a time") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const std::size_t take_max : {1U, 3U, 8U, 1000U}) {
            test::scripted_stream to;
            to.take_max = take_max;
            writer out(to, {.buffer_size = 8});
            std::string all;
            for (std::size_t size = 0; size < 40; ++size) {
                const std::string piece(size, static_cast<char>('a' + size % 26));
                const auto written = co_await out.write(piece);
                CHECK(written.bytes() == size);
                all += piece;
                CHECK(out.sent() + out.buffered() == all.size());
            }
            const auto flushed = co_await out.flush();
            CHECK(flushed);
            CHECK(to.taken == all);
            CHECK(out.sent() == all.size());
        }
    });
}

TEST_CASE("a large write goes out together with what is buffered, in one send") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        gyre::buffered_writer out(pair.first, {.buffer_size = 16});
        const auto head = co_await out.write("head:");
        CHECK(head);
        const auto before = gyre::scheduler::current().counters();
        const std::string body(1000, 'b');
        const auto written = co_await out.write(body);
        CHECK(written);
        const auto after = gyre::scheduler::current().counters();
        CHECK(after.submissions - before.submissions == 1);
        CHECK(out.buffered() == 0);
        std::string arrived(2000, ' ');
        const auto received = co_await pair.second.recv(std::as_writable_bytes(std::span(arrived)));
        CHECK(arrived.substr(0, received.value()) == "head:" + body);
    });
}

TEST_CASE("an error says what of the write was taken, and stays") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto broken = gyre::errno_code(EPIPE);
        test::scripted_stream to;
        to.room = 10;
        writer out(to, {.buffer_size = 8});
        const auto first = co_await out.write("123456");
        CHECK(first);
        const auto second = co_await out.write("abcdefghijklmnop");
        CHECK(second.error() == broken);
        CHECK(second.bytes() == 4);
        CHECK(to.taken == "123456abcd");
        CHECK(out.sent() == 10);
        CHECK(out.error() == broken);
        to.room = 1000; // Too late: bytes are missing by now.
        const auto third = co_await out.write("x");
        CHECK(third.error() == broken);
        CHECK(third.bytes() == 0);
        const auto flushed = co_await out.flush();
        CHECK(flushed.error() == broken);
        CHECK(to.taken == "123456abcd");
    });
}

TEST_CASE("a flush that fails says how much it sent") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream to;
        to.room = 4;
        writer out(to);
        const auto written = co_await out.write("123456");
        CHECK(written);
        const auto flushed = co_await out.flush();
        CHECK(flushed.bytes() == 4);
        CHECK(flushed.error() == gyre::errno_code(EPIPE));
        CHECK(out.buffered() == 2);
    });
}

TEST_CASE("a cancel is no error of the stream: what was not sent is, the next time") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream to;
        to.room = 4;
        to.send_ends_by = {};
        writer out(to, {.buffer_size = 8});
        const auto written = co_await out.write("123456");
        CHECK(written);
        const auto flushed = co_await gyre::with_timeout(out.flush(), 1ms);
        CHECK(flushed.bytes() == 4);
        CHECK(flushed.error() == gyre::errc::timed_out);
        CHECK(!out.error());
        CHECK(out.buffered() == 2);
        to.room = 7;
        const auto more = co_await gyre::with_timeout(out.write("abcdefghij"), 1ms);
        CHECK(more.bytes() == 1);
        CHECK(more.error() == gyre::errc::timed_out);
        to.room = 1000;
        const auto rest = co_await out.write("bcdefghij");
        CHECK(rest);
        const auto last = co_await out.flush();
        CHECK(last);
        CHECK(to.taken == "123456abcdefghij");
    });
}

TEST_CASE("what was not flushed when the writer goes is dropped") {
    test::on_every_engine([]() -> gyre::task<> {
        test::scripted_stream to;
        {
            writer out(to);
            const auto written = co_await out.write("lost");
            CHECK(written);
        }
        CHECK(to.sends == 0);
    });
}

TEST_SUITE_END();
