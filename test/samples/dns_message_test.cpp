#include "samples/dns_message.hpp"

#include "samples/dns_session.hpp"

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace dns = samples::dns;

const dns::host_table& hosts() {
    static const dns::host_table table = dns::host_table::parse(
        "# a comment\n"
        "192.0.2.1   one.test One-Alias.TEST # behind it\n"
        "192.0.2.2\tone.test\r\n"
        "2001:db8::1 one.test six.test.\n"
        "\n"
        "not-an-address lost.test\n"
        "192.0.2.3\n"
        "192.0.2.1 one.test\n"
        "192.0.2.4 bad..name " +
        std::string(64, 'x') +
        ".test good.test\n"
        "192.0.2.5 last.test"
    );
    return table;
}

const dns::host_table& many_addresses() {
    static const dns::host_table table = [] {
        std::string text;
        for (int count = 1; count <= 200; ++count) {
            text += "192.0.2." + std::to_string(count) + " many.test\n";
        }
        return dns::host_table::parse(text);
    }();
    return table;
}

using message = std::vector<std::uint8_t>;

void add_word(message& to, unsigned value) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value & 0xff));
}

void add_name(message& to, std::string_view name) {
    while (!name.empty()) {
        const std::string_view label = name.substr(0, name.find('.'));
        to.push_back(static_cast<std::uint8_t>(label.size()));
        to.insert(to.end(), label.begin(), label.end());
        name.remove_prefix(std::min(label.size() + 1, name.size()));
    }
    to.push_back(0);
}

message header(unsigned flags, std::array<unsigned, 4> counts) {
    message made;
    add_word(made, 0xbeef);
    add_word(made, flags);
    for (const unsigned count : counts) {
        add_word(made, count);
    }
    return made;
}

message query(std::string_view name, unsigned type, unsigned flags = 0x0100) {
    message made = header(flags, {1, 0, 0, 0});
    add_name(made, name);
    add_word(made, type);
    add_word(made, 1);
    return made;
}

message& with_edns(message& to, unsigned size, unsigned version = 0) {
    to[11] += 1;
    to.push_back(0);
    add_word(to, 41);
    add_word(to, size);
    add_word(to, version);
    add_word(to, 0);
    add_word(to, 0);
    return to;
}

// A reply, taken apart.
struct reply {
    explicit reply(const message& asked, const dns::host_table& from = hosts()) {
        std::array<std::byte, 1232> memory;
        bytes.resize(dns::answer(from, std::as_bytes(std::span(asked)), memory));
        for (std::size_t place = 0; place < bytes.size(); ++place) {
            bytes[place] = std::to_integer<std::uint8_t>(memory[place]);
        }
    }
    unsigned word(std::size_t place) const {
        return static_cast<unsigned>(bytes[place] << 8 | bytes[place + 1]);
    }
    unsigned code() const { return word(2) & 0xf; }
    bool truncated() const { return (word(2) & 0x0200) != 0; }
    unsigned answers() const { return word(6); }
    message bytes;
};

} // namespace

TEST_SUITE_BEGIN("samples/dns_message");

TEST_CASE("a name's addresses of the type that is asked for are the answer, whatever the case") {
    const reply v4(query("ONE.test", 1));
    CHECK(v4.word(0) == 0xbeef);
    CHECK(v4.word(2) == 0x8500); // Reply, authoritative, recursion was wished for.
    CHECK(v4.word(4) == 1);
    CHECK(v4.answers() == 2);
    const message asked = query("ONE.test", 1);
    CHECK(std::equal(asked.begin() + 12, asked.end(), v4.bytes.begin() + 12)); // As it came.
    const message record = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};
    REQUIRE(v4.bytes.size() == asked.size() + 2 * record.size());
    CHECK(std::equal(record.begin(), record.end(), v4.bytes.begin() + 26));

    const reply v6(query("one.test", 28));
    CHECK(v6.code() == 0);
    CHECK(v6.answers() == 1);
    CHECK(v6.bytes.size() == asked.size() + 28);
    CHECK(reply(query("one.test", 255)).answers() == 3);
    CHECK(reply(query("one-alias.test", 1)).answers() == 1);
    CHECK(reply(query("six.test", 28)).answers() == 1);
    CHECK(reply(query("good.test", 1)).answers() == 1);
    CHECK(reply(query("last.test", 1)).answers() == 1);
}

TEST_CASE("a name without such an address has an empty answer, and an unknown one is NXDOMAIN") {
    const reply no_data(query("six.test", 1));
    CHECK(no_data.code() == 0);
    CHECK(no_data.answers() == 0);
    const reply mail(query("one.test", 15));
    CHECK(mail.code() == 0);
    CHECK(mail.answers() == 0);
    for (const std::string_view name : {"lost.test", "test", "bad", "", "x.one.test"}) {
        const reply unknown(query(name, 1));
        CHECK(unknown.code() == 3);
        CHECK(unknown.answers() == 0);
        CHECK(unknown.word(4) == 1);
    }
    // A dot within a label separates nothing.
    message dotted = header(0, {1, 0, 0, 0});
    const std::string_view label = "one.test";
    dotted.push_back(static_cast<std::uint8_t>(label.size()));
    dotted.insert(dotted.end(), label.begin(), label.end());
    dotted.push_back(0);
    add_word(dotted, 1);
    add_word(dotted, 1);
    CHECK(reply(dotted).code() == 3);
}

TEST_CASE("what is no query of ours is refused in its own words") {
    CHECK(reply(query("one.test", 1, 0x0800)).code() == 4);   // An inverse query.
    CHECK(reply(query("one.test", 1, 0x2800)).code() == 4);   // An update.
    CHECK(reply(query("one.test", 252)).code() == 5);         // A transfer of the zone.
    CHECK(reply(query("one.test", 1, 0x8000)).bytes.empty()); // An answer.
    message chaos = query("one.test", 1);
    chaos.back() = 3;
    CHECK(reply(chaos).code() == 5);
    CHECK(reply(message(11)).bytes.empty());
    CHECK(reply(message()).bytes.empty());
}

TEST_CASE("a malformed query is FORMERR, without a question and without a crash") {
    const message good = query("one.test", 1);
    for (std::size_t size = 12; size < good.size(); ++size) {
        const reply cut(message(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)));
        CHECK(cut.code() == 1);
        CHECK(cut.bytes.size() == 12U);
        CHECK(cut.word(0) == 0xbeef);
    }
    message trailing = good;
    trailing.push_back(0);
    CHECK(reply(trailing).code() == 1);
    CHECK(reply(header(0, {0, 0, 0, 0})).code() == 1);
    message two = good;
    two[5] = 2;
    CHECK(reply(two).code() == 1);
    message pointer = header(0, {1, 0, 0, 0});
    pointer.insert(pointer.end(), {0xc0, 12, 0, 1, 0, 1});
    CHECK(reply(pointer).code() == 1);
    message long_label = header(0, {1, 0, 0, 0});
    long_label.push_back(64);
    long_label.resize(200);
    CHECK(reply(long_label).code() == 1);
    message long_name = header(0, {1, 0, 0, 0});
    for (int count = 0; count < 5; ++count) {
        long_name.push_back(63);
        long_name.resize(long_name.size() + 63, 'x');
    }
    long_name.insert(long_name.end(), {0, 0, 1, 0, 1});
    CHECK(reply(long_name).code() == 1);
    CHECK(reply(query("", 41)).code() == 1); // To ask for EDNS itself.
}

TEST_CASE("without EDNS an answer has 512 bytes at most, and says that it is not all") {
    const message asked = query("many.test", 1);
    const reply cut(asked, many_addresses());
    CHECK(cut.bytes.size() <= 512U);
    CHECK(cut.truncated());
    CHECK(cut.answers() == (512U - asked.size()) / 16);
    CHECK(cut.bytes.size() == asked.size() + cut.answers() * std::size_t{16});
    CHECK(!reply(query("one.test", 1)).truncated());
}

TEST_CASE("with EDNS an answer is as large as both sides take") {
    message asked = query("many.test", 1);
    const std::size_t plain = asked.size();
    with_edns(asked, 4096);
    const reply large(asked, many_addresses());
    CHECK(large.truncated());
    CHECK(large.bytes.size() <= 1232U);
    CHECK(large.bytes.size() > 1232U - 16);
    CHECK(large.word(10) == 1); // It says EDNS as well,
    const message edns = {0, 0, 41, 1232 >> 8, 1232 & 0xff, 0, 0, 0, 0, 0, 0};
    CHECK(std::equal(edns.rbegin(), edns.rend(), large.bytes.rbegin()));

    message small = query("many.test", 1);
    with_edns(small, 100); // Less than 512 means 512.
    const reply least(small, many_addresses());
    CHECK(least.answers() == (512U - plain - 11) / 16);
    message medium = query("many.test", 1);
    with_edns(medium, 700);
    CHECK(reply(medium, many_addresses()).bytes.size() <= 700U);

    message nothing = query("unknown.test", 1);
    with_edns(nothing, 1232);
    CHECK(reply(nothing).code() == 3);
    CHECK(reply(nothing).word(10) == 1);
}

TEST_CASE("another version of EDNS is BADVERS, and EDNS twice is FORMERR") {
    message newer = query("one.test", 1);
    with_edns(newer, 1232, 1);
    const reply told(newer);
    CHECK(told.code() == 0);
    CHECK(told.answers() == 0);
    REQUIRE(told.word(10) == 1);
    CHECK(told.bytes[told.bytes.size() - 6] == 1); // The upper part of 16.
    CHECK(told.bytes[told.bytes.size() - 5] == 0); // The version that is known.

    message twice = query("one.test", 1);
    with_edns(with_edns(twice, 1232), 1232);
    CHECK(reply(twice).code() == 1);
    message cut = query("one.test", 1);
    with_edns(cut, 1232);
    cut.pop_back();
    CHECK(reply(cut).code() == 1);
}

TEST_CASE("a client gets its answer from the address that it has asked") {
    test::on_every_engine([]() -> gyre::task<> {
        auto server = gyre::datagram::bind("0.0.0.0:0");
        REQUIRE(server.receive_details({.packet = true}));
        const auto port = server.local_endpoint().value().port();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto ended = co_await samples::answer_queries(server, hosts());
                CHECK(ended.error() == gyre::errno_code(ECANCELED));
            });
            auto client = gyre::datagram::bind("127.0.0.1:0");
            const auto at = gyre::endpoint("127.0.0.5:0").with_port(port);
            REQUIRE(client.connect(at)); // It hears nobody else.
            const message asked = query("one.test", 1);
            for (const std::size_t size : {std::size_t{3}, asked.size()}) {
                const auto sent = co_await client.send(std::as_bytes(std::span(asked)).first(size));
                CHECK(sent);
            }
            std::array<std::byte, 512> answer;
            const auto received = co_await client.recv(answer);
            REQUIRE(received);
            CHECK(received->full() == reply(asked).bytes.size());
            scope.cancel();
        };
        co_await gyre::with_scope(body);
    });
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("samples/fuzz");

TEST_CASE("a DNS message of any bytes is answered within bounds, or not at all") {
    test::fuzz({}, [](test::trial& round) {
        for (int repeat = 0; repeat < 100; ++repeat) {
            message asked = query("one.test", 1);
            if (round.one_in(2)) {
                with_edns(asked, static_cast<unsigned>(round.below(65536)));
            }
            for (std::uint64_t change = round.below(6); change != 0; --change) {
                asked[round.below(asked.size())] = static_cast<std::uint8_t>(round.next());
            }
            asked.resize(round.below(asked.size() + 3));
            // Memory of just that size, so that a sanitizer sees what is behind it.
            const auto memory = std::make_unique<std::byte[]>(asked.size());
            for (std::size_t place = 0; place < asked.size(); ++place) {
                memory[place] = static_cast<std::byte>(asked[place]);
            }
            std::array<std::byte, 1232> answer;
            const std::size_t size = dns::answer(hosts(), {memory.get(), asked.size()}, answer);
            round.expect(size == 0 || (size >= 12 && size <= 1232), "the reply has no such size");
            round.expect(
                size == 0 || (std::to_integer<int>(answer[2]) & 0x80) != 0, "it is no reply"
            );
        }
    });
}

TEST_SUITE_END();
