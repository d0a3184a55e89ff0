#include "samples/kv/resp.hpp"

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace resp = samples::resp;
using outcome = resp::parser::outcome;
using command = std::vector<std::string>;

struct reading {
    std::vector<command> commands;
    std::string error;

    friend bool operator==(const reading&, const reading&) = default;
};

/// Gives the parser all of the text in pieces of which `size_of` tells how long they are, each in
/// memory of just that size, which is gone as soon as the parser wants more.
template <class Size>
reading read_in_pieces(std::string_view text, const resp::limits& limits, Size size_of) {
    reading made;
    resp::parser parser(limits);
    auto last = outcome::more;
    while (!text.empty() && last == outcome::more) {
        const std::size_t size = std::min<std::size_t>(size_of(), text.size());
        const auto piece = std::make_unique<char[]>(size);
        std::memcpy(piece.get(), text.data(), size);
        text.remove_prefix(size);
        parser.feed({piece.get(), size});
        for (last = parser.next(); last == outcome::command; last = parser.next()) {
            made.commands.emplace_back(parser.arguments().begin(), parser.arguments().end());
        }
    }
    made.error = parser.error();
    CHECK((last == outcome::error) == !made.error.empty());
    return made;
}

reading read(std::string_view text, const resp::limits& limits = {}) {
    const reading whole = read_in_pieces(text, limits, [&] { return text.size(); });
    for (std::size_t piece = 1; piece <= std::min<std::size_t>(text.size(), 40); ++piece) {
        const bool same = read_in_pieces(text, limits, [piece] { return piece; }) == whole;
        INFO(piece);
        CHECK(same);
    }
    return whole;
}

std::vector<command> commands_in(std::string_view text) {
    const reading made = read(text);
    CHECK(made.error == "");
    return made.commands;
}

std::string error_of(std::string_view text, const resp::limits& limits = {}) {
    const reading made = read(text, limits);
    constexpr std::string_view start = "Protocol error: ";
    REQUIRE(made.error.starts_with(start));
    return made.error.substr(start.size());
}

} // namespace

TEST_SUITE_BEGIN("samples/kv/resp");

TEST_CASE("commands are read the same whatever pieces they come in") {
    const auto made = commands_in("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
                                  "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\n\r\n$1\r\r\n"
                                  "PING\r\n"
                                  "*0\r\n"
                                  "*-1\r\n"
                                  "\r\n"
                                  "   \r\n"
                                  "echo  one\n"
                                  "*1\r\n$4\r\nPING\r\n"
                                  "*2\r\n$4\r\nleft");
    const std::vector<command> expected = {
        {"GET", "k"}, {"SET", "", "\r\n$1\r"}, {"PING"}, {"echo", "one"}, {"PING"}
    };
    CHECK(made == expected);
}

TEST_CASE("an inline command is cut as a shell does") {
    CHECK(commands_in("a \"b c\" d\r\n") == std::vector<command>{{"a", "b c", "d"}});
    CHECK(commands_in("\"\" ''\n") == std::vector<command>{{"", ""}});
    CHECK(
        commands_in("\"\\x41\\n\\r\\t\\b\\a\\q\\\"\\\\\\xg1\"\n") ==
        std::vector<command>{{"A\n\r\t\b\aq\"\\xg1"}}
    );
    CHECK(commands_in("'\\x41\\n\\'\"'\n") == std::vector<command>{{"\\x41\\n'\""}});
    CHECK(commands_in("a'b c'\n") == std::vector<command>{{"ab c"}});
    for (const char* open : {"\"a\n", "'a\n", "\"a\"b\n", "'a'b c\n", "\"a\\\"\n", "\"\n"}) {
        INFO(open);
        CHECK(error_of(open) == "unbalanced quotes in request");
    }
}

TEST_CASE("what breaks the protocol is refused with the words of Redis") {
    CHECK(error_of("*x\r\n") == "invalid multibulk length");
    CHECK(error_of("*\r\n") == "invalid multibulk length");
    CHECK(error_of("*1\n") == "invalid multibulk length");
    CHECK(error_of("*65537\r\n") == "invalid multibulk length");
    CHECK(error_of("*01\r\n") == "invalid multibulk length");
    CHECK(error_of("*1\r\n+4\r\n") == "expected '$', got '+'");
    CHECK(error_of("*1\r\n\r\n") == "expected '$', got '\r'");
    CHECK(error_of("*1\r\n$x\r\n") == "invalid bulk length");
    CHECK(error_of("*1\r\n$-1\r\n") == "invalid bulk length");
    CHECK(error_of("*1\r\n$67108865\r\n") == "invalid bulk length");
    CHECK(error_of("*1\r\n$99999999999999999999\r\n") == "invalid bulk length");
    CHECK(error_of("*1\r\n$1\r\nab\n") == "expected CR LF after a bulk string");
    // What came before is a command all the same.
    const reading made = read("PING\r\n*1\r\n$1\r\nab\n");
    CHECK(made.commands == std::vector<command>{{"PING"}});
}

TEST_CASE("a line of the limit is read, a longer one is refused, also without its end") {
    const resp::limits limits = {.arguments_max = 4, .line_max = 8};
    CHECK(read("12345678\n", limits).commands == std::vector<command>{{"12345678"}});
    CHECK(read("12345678", limits).error == "");
    CHECK(error_of("123456789", limits) == "too big inline request");
    CHECK(error_of("123456789\n", limits) == "too big inline request");
    CHECK(error_of("*12345678", limits) == "too big mbulk count string");
    CHECK(error_of("*1\r\n$12345678", limits) == "too big bulk count string");
}

TEST_CASE("a command is not longer than its limit, however many arguments it has") {
    const resp::limits limits = {.bulk_max = 40, .command_max = 100};
    const std::string bulk = "$40\r\n" + std::string(40, 'x') + "\r\n";
    CHECK(read("*2\r\n" + bulk + bulk, limits).commands.size() == 1);
    CHECK(error_of("*3\r\n" + bulk + bulk + "$1\r\n", limits) == "too big command");
    CHECK(
        error_of("*5\r\n" + bulk + "$40\r\n" + std::string(40, 'x') + "\r\n$0\r\n", limits) ==
        "too big command"
    );
}

TEST_CASE("integers are read as Redis does") {
    CHECK(resp::parse_integer("0") == 0);
    CHECK(resp::parse_integer("-1") == -1);
    CHECK(resp::parse_integer("9223372036854775807") == INT64_MAX);
    CHECK(resp::parse_integer("-9223372036854775808") == INT64_MIN);
    for (const char* none :
         {"",
          "-",
          "+1",
          " 1",
          "1 ",
          "01",
          "-0",
          "-01",
          "1x",
          "0x1",
          "1.0",
          "9223372036854775808",
          "-9223372036854775809"}) {
        INFO(none);
        CHECK(!resp::parse_integer(none));
    }
}

TEST_CASE("replies are written as the protocol has them") {
    std::string reply;
    resp::add_simple(reply, "OK");
    resp::add_error(reply, "ERR a\r\nb");
    resp::add_integer(reply, INT64_MIN);
    resp::add_bulk(reply, std::string_view("\0\r\n", 3));
    resp::add_bulk(reply, "");
    resp::add_null(reply);
    resp::add_array(reply, 2);
    const std::string zero(1, '\0');
    CHECK(
        reply == "+OK\r\n-ERR a  b\r\n:-9223372036854775808\r\n$3\r\n" + zero +
                     "\r\n\r\n$0\r\n\r\n$-1\r\n*2\r\n"
    );
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("samples/fuzz");

TEST_CASE("any bytes are the same commands whatever pieces they come in") {
    test::fuzz({}, [](test::trial& round) {
        const resp::limits limits = {
            .bulk_max = 300, .command_max = 900, .arguments_max = 6, .line_max = 40
        };
        for (int repeat = 0; repeat < 20; ++repeat) {
            std::string text;
            for (std::uint64_t count = round.below(8); count != 0; --count) {
                if (round.one_in(4)) {
                    text += round.one_in(2) ? "SET \"a\\x00\" 'b'\r\n" : "PING\n";
                    continue;
                }
                const std::uint64_t arguments = round.below(7);
                text += "*" + std::to_string(arguments) + "\r\n";
                for (std::uint64_t index = 0; index < arguments; ++index) {
                    const auto size = static_cast<std::size_t>(round.any_size(9));
                    text += "$" + std::to_string(size) + "\r\n" + std::string(size, '$') + "\r\n";
                }
            }
            for (std::uint64_t change = round.below(3); change != 0 && !text.empty(); --change) {
                constexpr std::string_view likely = "\r\n*$-0123456789\"'\\ x";
                text[round.below(text.size())] = likely[round.below(likely.size())];
            }
            const reading whole = read_in_pieces(text, limits, [&] { return text.size(); });
            const reading pieces =
                read_in_pieces(text, limits, [&] { return round.below(50) + 1; });
            round.expect(whole == pieces, "the pieces make a difference");
            for (const command& each : whole.commands) {
                round.expect(!each.empty(), "there is a command without a name");
                for (const std::string& argument : each) {
                    round.expect(argument.size() <= limits.bulk_max, "an argument is too large");
                }
            }
        }
    });
}

TEST_SUITE_END();
