#include <gyre/net/option.hpp>

#include <gyre/net/descriptor.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>

#include <netinet/in.h>
#include <sys/socket.h>

namespace {

using namespace std::chrono_literals;

// Sets an option and reads it back.
template <class Option>
typename Option::value_type set_and_read(gyre::descriptor& on, const Option& wish) {
    const auto set = on.set_option(wish);
    REQUIRE(set);
    const auto read = on.option<Option>();
    REQUIRE(read);
    return *read;
}

} // namespace

TEST_SUITE_BEGIN("net/option");

TEST_CASE("every flag that is set can be read back, on and off") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        for (const bool on : {true, false, true}) {
            CHECK(set_and_read(pair.client, gyre::no_delay(on)) == on);
            CHECK(set_and_read(pair.client, gyre::keep_alive(on)) == on);
            CHECK(set_and_read(pair.client, gyre::reuse_address(on)) == on);
            CHECK(set_and_read(pair.client, gyre::reuse_port(on)) == on);
        }
    });
}

TEST_CASE("keep-alive times and counts can be read back") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        CHECK(set_and_read(pair.client, gyre::keep_alive_idle(70s)) == 70s);
        CHECK(set_and_read(pair.client, gyre::keep_alive_interval(1min)) == 60s);
        CHECK(set_and_read(pair.client, gyre::keep_alive_count(7)) == 7);
        CHECK(set_and_read(pair.client, gyre::user_timeout(1500ms)) == 1500ms);
        CHECK(set_and_read(pair.client, gyre::user_timeout(0ms)) == 0ms);
    });
}

TEST_CASE("a time finer than the kernel's unit is rounded up, so that it never becomes zero") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        CHECK(set_and_read(pair.client, gyre::keep_alive_idle(1ns)) == 1s);
        CHECK(set_and_read(pair.client, gyre::keep_alive_interval(1001ms)) == 2s);
        CHECK(set_and_read(pair.client, gyre::user_timeout(1us)) == 1ms);
    });
}

TEST_CASE("buffer sizes are doubled by the kernel, the low-water mark is taken as it is") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        CHECK(set_and_read(pair.client, gyre::send_buffer_size(20'000)) == 40'000);
        CHECK(set_and_read(pair.client, gyre::receive_buffer_size(30'000)) == 60'000);
        CHECK(set_and_read(pair.client, gyre::receive_low_water(100)) == 100);
    });
}

TEST_CASE("a receive that waits is woken no earlier than the low-water mark says") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto set = pair.server.set_option(gyre::receive_low_water(3));
        REQUIRE(set);
        std::array<std::byte, 16> buffer{};
        std::size_t received = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto taken = co_await pair.server.recv(buffer);
                received = taken.value_or(0);
            });
            // What is there when it begins would be its result at once, however little.
            const auto begun = co_await gyre::sleep_for(2ms);
            CHECK(begun);
            for (const char* text : {"a", "b", "c"}) {
                CHECK(received == 0U);
                const auto sent = co_await pair.client.send(test::bytes_of(text));
                CHECK(sent);
                const auto waited = co_await gyre::sleep_for(2ms);
                CHECK(waited);
            }
        };
        co_await gyre::with_scope(body);
        CHECK(received == 3U);
    });
}

TEST_CASE("linger is read back with its time, and on with zero seconds it resets the peer") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto unset = pair.client.option<gyre::linger>();
        REQUIRE(unset);
        CHECK(!unset->is_on());
        const auto set = set_and_read(pair.client, gyre::linger(true, 9s));
        CHECK(set.is_on());
        CHECK(set.time() == 9s);
        const auto off = set_and_read(pair.client, gyre::linger(false, 0s));
        CHECK(!off.is_on());

        const auto resets = pair.client.set_option(gyre::linger(true, 0s));
        CHECK(resets);
        const auto closed = co_await pair.client.close();
        CHECK(closed);
        std::array<std::byte, 4> buffer;
        const auto received = co_await pair.server.recv(buffer);
        CHECK(received.error() == gyre::errno_code(ECONNRESET));
    });
}

TEST_CASE("defer_accept and fast_open are options of a listener") {
    auto listener = gyre::listener::bind("127.0.0.1:0");
    // The kernel counts retransmissions instead of seconds, and rounds up to the next one.
    CHECK(set_and_read(listener, gyre::defer_accept(5s)) >= 5s);
    CHECK(set_and_read(listener, gyre::defer_accept(0s)) == 0s);
    CHECK(set_and_read(listener, gyre::fast_open(16)) == 16);
}

TEST_CASE("with defer_accept a connection is accepted once it has brought data") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto set = listener.set_option(gyre::defer_accept(10s));
        REQUIRE(set);
        const auto at = listener.local_endpoint().value();
        auto silent = co_await gyre::stream::connect(at);
        REQUIRE(silent);
        auto none = co_await gyre::with_timeout(listener.accept(), 5ms);
        CHECK(none.error() == gyre::errc::timed_out);

        const auto sent = co_await silent->send(test::bytes_of("hello"));
        CHECK(sent);
        auto accepted = co_await listener.accept();
        REQUIRE(accepted);
        std::array<std::byte, 8> buffer{};
        const auto received = accepted->try_recv(buffer);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "hello");
    });
}

TEST_CASE("TCP_INFO tells the state and the segment sizes of a connection") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("some data"));
        CHECK(sent);
        std::array<std::byte, 9> buffer{};
        const auto received = co_await gyre::recv_exactly(pair.server, buffer);
        CHECK(received);

        const auto established = pair.client.tcp_info();
        REQUIRE(established);
        CHECK(established->state == 1);
        CHECK(established->send_segment_size > 0U);
        CHECK(established->congestion_window > 0U);
        CHECK(established->round_trip > 0us);
        CHECK(established->total_retransmits == 0U);

        const auto ended = pair.client.shutdown(gyre::shutdown_side::send);
        CHECK(ended);
        const auto end = co_await pair.server.recv(buffer);
        CHECK(end.value_or(1) == 0U);
        const auto close_wait = pair.server.tcp_info();
        REQUIRE(close_wait);
        CHECK(close_wait->state == 8);
    });
}

TEST_CASE("an option that a socket does not have is an error, not a default") {
    auto pair = gyre::stream::pair();
    CHECK(pair.first.tcp_info().error() == gyre::errno_code(EOPNOTSUPP));
    CHECK(pair.first.option<gyre::no_delay>().error() == gyre::errno_code(EOPNOTSUPP));
    CHECK(pair.first.set_option(gyre::keep_alive_count(3)).error() == gyre::errno_code(EOPNOTSUPP));
    auto listener = gyre::listener::bind("127.0.0.1:0");
    CHECK(listener.set_option(gyre::keep_alive_count(-1)).error() == gyre::errno_code(EINVAL));
}

TEST_CASE("what a socket is can be asked: type, family, protocol, whether it listens, its cookie") {
    auto listener = gyre::listener::bind("127.0.0.1:0");
    auto pair = gyre::stream::pair();
    CHECK(listener.option<gyre::socket_type>().value() == SOCK_STREAM);
    CHECK(listener.option<gyre::socket_domain>().value() == AF_INET);
    CHECK(listener.option<gyre::socket_protocol>().value() == IPPROTO_TCP);
    CHECK(listener.option<gyre::accepts_connections>().value());
    CHECK(pair.first.option<gyre::socket_domain>().value() == AF_UNIX);
    CHECK(!pair.first.option<gyre::accepts_connections>().value());
    const auto one = pair.first.option<gyre::socket_cookie>().value();
    const auto other = pair.second.option<gyre::socket_cookie>().value();
    CHECK(one != 0U);
    CHECK(one != other);
    CHECK(pair.first.option<gyre::socket_cookie>().value() == one);
}

TEST_CASE("TCP's further options can be read back") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        CHECK(set_and_read(pair.client, gyre::cork(true)));
        CHECK(!set_and_read(pair.client, gyre::cork(false)));
        CHECK(set_and_read(pair.client, gyre::quick_ack(true)));
        CHECK(set_and_read(pair.client, gyre::connect_retries(3)) == 3);
        CHECK(set_and_read(pair.client, gyre::fin_wait(7s)) == 7s);
        CHECK(set_and_read(pair.client, gyre::not_sent_low_water(12'000)) == 12'000);
        const auto usual = pair.client.option<gyre::segment_size_max>();
        REQUIRE(usual);
        CHECK(*usual > 0);
    });
    auto listener = gyre::listener::bind("127.0.0.1:0");
    const auto smaller = listener.set_option(gyre::segment_size_max(700));
    CHECK(smaller);
    CHECK(listener.option<gyre::segment_size_max>().value() > 0);
}

TEST_CASE("the congestion control goes by its name, and one that is too long is not cut") {
    auto listener = gyre::listener::bind("127.0.0.1:0");
    // Each kernel has it.
    CHECK(set_and_read(listener, gyre::congestion_control("reno")).text() == "reno");
    const auto unknown = gyre::errno_code(ENOENT);
    CHECK(listener.set_option(gyre::congestion_control("no such name")).error() == unknown);
    const gyre::congestion_control too_long("renorenorenoreno");
    CHECK(!std::string_view("renorenorenoreno").starts_with(too_long.text()));
    CHECK(listener.set_option(too_long).error() == unknown);
    CHECK(listener.option<gyre::congestion_control>().value().text() == "reno");
}

TEST_CASE("a socket is bound to a device by its name") {
    auto listener = gyre::listener::bind("127.0.0.1:0");
    CHECK(listener.option<gyre::bound_device>().value().text().empty());
    const auto bound = listener.set_option(gyre::bound_device("lo"));
    if (bound.error() == gyre::errno_code(EPERM)) {
        test::skip("SO_BINDTODEVICE is not permitted");
        return;
    }
    REQUIRE(bound);
    CHECK(listener.option<gyre::bound_device>().value().text() == "lo");
    CHECK(
        listener.set_option(gyre::bound_device("no such device")).error() ==
        gyre::errno_code(ENODEV)
    );
}

TEST_CASE("options of the socket itself can be read back") {
    auto pair = gyre::stream::pair();
    CHECK(set_and_read(pair.first, gyre::priority(4)) == 4);
    CHECK(set_and_read(pair.first, gyre::out_of_band_inline(true)));
    CHECK(set_and_read(pair.first, gyre::incoming_cpu(0)) == 0);
    const auto mark = pair.first.set_option(gyre::packet_mark(17));
    const auto forced = pair.first.set_option(gyre::forced_send_buffer_size(64 << 20));
    if (mark.error() == gyre::errno_code(EPERM)) { // Without CAP_NET_ADMIN.
        CHECK(forced.error() == gyre::errno_code(EPERM));
    } else {
        CHECK(pair.first.option<gyre::packet_mark>().value() == 17);
        CHECK(forced);
        CHECK(pair.first.option<gyre::send_buffer_size>().value() == 128 << 20);
        CHECK(pair.first.set_option(gyre::forced_receive_buffer_size(64 << 20)));
        CHECK(pair.first.option<gyre::receive_buffer_size>().value() == 128 << 20);
    }
}

TEST_CASE("a time that no int holds is cut to the longest one instead of wrapping around") {
    auto listener = gyre::listener::bind("127.0.0.1:0");
    const auto set = listener.set_option(gyre::user_timeout(std::chrono::hours(1'000'000)));
    REQUIRE(set);
    const auto read = listener.option<gyre::user_timeout>();
    REQUIRE(read);
    CHECK(*read >= std::chrono::hours(24 * 20));
}

TEST_SUITE_END();
