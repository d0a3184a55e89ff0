#include "samples/kv_session.hpp"

#include "samples/kv/commands.hpp"
#include "samples/kv/resp.hpp"
#include "samples/kv/store.hpp"

#include "support/test.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

using namespace std::chrono_literals;

namespace {

constexpr auto no_limit = std::chrono::nanoseconds::max();

/// What a command line is answered with, at that time.
class keeper {
public:
    samples::kv::state server;
    samples::store::time_point now{1'000'000ms};

    std::string operator()(std::string_view line) {
        samples::resp::parser parser;
        const std::string ended = std::string(line) + "\n";
        parser.feed(ended);
        std::string reply;
        bool wants_end = false;
        REQUIRE(parser.next() == samples::resp::parser::outcome::command);
        samples::kv::execute({server, now, parser.arguments(), reply, wants_end});
        REQUIRE(reply.ends_with("\r\n"));
        reply.resize(reply.size() - 2);
        return reply;
    }
};

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

/// Sends it all in one piece, ends its side, and yields all that comes back.
gyre::task<std::string> answers_to(std::string_view text, samples::kv::state& server) {
    auto pair = co_await test::loopback_pair();
    std::string all;
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        scope.spawn(samples::serve_commands, std::move(pair.server), std::ref(server), no_limit);
        const auto sent = co_await gyre::send_all(pair.client, test::bytes_of(text));
        CHECK(sent);
        CHECK(pair.client.shutdown(gyre::shutdown_side::send));
        all = co_await all_of(pair.client);
    };
    co_await gyre::with_scope(body);
    co_return all;
}

} // namespace

TEST_SUITE_BEGIN("samples/kv_session");

TEST_CASE("SET heeds its options") {
    keeper ask;
    CHECK(ask("SET k 1 NX") == "+OK");
    CHECK(ask("set k 2 nx") == "$-1");
    CHECK(ask("SET k 2 XX") == "+OK");
    CHECK(ask("SET other 2 XX") == "$-1");
    CHECK(ask("SET k 3 GET") == "$1\r\n2");
    CHECK(ask("SET k 4 NX GET") == "$1\r\n3");
    CHECK(ask("SET k 4 XX GET") == "$1\r\n3");
    CHECK(ask("SET fresh 1 NX GET") == "$-1");
    CHECK(ask("GET fresh") == "$1\r\n1");
    CHECK(ask("SET k 5 EX 10") == "+OK");
    CHECK(ask("TTL k") == ":10");
    CHECK(ask("SET k 6 KEEPTTL") == "+OK");
    CHECK(ask("TTL k") == ":10");
    CHECK(ask("SET k 7") == "+OK");
    CHECK(ask("TTL k") == ":-1");
    CHECK(ask("SET k 8 PX 1499") == "+OK");
    CHECK(ask("TTL k") == ":1");
    for (const char* wrong :
         {"NX XX", "EX", "EX 1 PX 1", "EX 1 KEEPTTL", "KEEPTTL PX 1", "LATER", "EX 1 2"}) {
        INFO(wrong);
        CHECK(ask(std::string("SET k v ") + wrong) == "-ERR syntax error");
    }
    CHECK(ask("SET k v EX x") == "-ERR value is not an integer or out of range");
    for (const char* never : {"0", "-1", "9223372036854775807", "9223372036854775"}) {
        INFO(never);
        CHECK(
            ask(std::string("SET k v EX ") + never) == "-ERR invalid expire time in 'set' command"
        );
    }
    CHECK(ask("GET k") == "$1\r\n8");
}

TEST_CASE("INCR counts within 64 bits and keeps the end") {
    keeper ask;
    CHECK(ask("INCR k") == ":1");
    CHECK(ask("INCR k") == ":2");
    CHECK(ask("SET k -5 EX 10") == "+OK");
    CHECK(ask("INCR k") == ":-4");
    CHECK(ask("TTL k") == ":10");
    CHECK(ask("SET k 9223372036854775807") == "+OK");
    CHECK(ask("INCR k") == "-ERR increment or decrement would overflow");
    CHECK(ask("GET k") == "$19\r\n9223372036854775807");
    CHECK(ask("SET k 01") == "+OK");
    CHECK(ask("INCR k") == "-ERR value is not an integer or out of range");
}

TEST_CASE("EXPIRE sets an end, and TTL tells it") {
    keeper ask;
    CHECK(ask("TTL k") == ":-2");
    CHECK(ask("EXPIRE k 10") == ":0");
    CHECK(ask("SET k v") == "+OK");
    CHECK(ask("TTL k") == ":-1");
    CHECK(ask("EXPIRE k 10") == ":1");
    ask.now += 9501ms;
    CHECK(ask("TTL k") == ":0");
    ask.now += 499ms;
    CHECK(ask("GET k") == "$1\r\nv");
    ask.now += 1ms;
    CHECK(ask("GET k") == "$-1");
    CHECK(ask("TTL k") == ":-2");
    CHECK(ask("SET k v") == "+OK");
    CHECK(ask("EXPIRE k 9223372036853765") == ":1");
    CHECK(ask("TTL k") == ":9223372036853765");
    CHECK(ask("EXPIRE k 9223372036853766") == "-ERR invalid expire time in 'expire' command");
    CHECK(ask("EXPIRE k 9223372036854775807") == "-ERR invalid expire time in 'expire' command");
    CHECK(ask("EXPIRE k -9223372036854775807") == "-ERR invalid expire time in 'expire' command");
    CHECK(ask("EXPIRE k soon") == "-ERR value is not an integer or out of range");
    CHECK(ask("EXPIRE k -1") == ":1");
    CHECK(ask("GET k") == "$-1");
}

TEST_CASE("many keys at once") {
    keeper ask;
    CHECK(ask("MSET a 1 b 2 a 3") == "+OK");
    CHECK(ask("MGET a b c a") == "*4\r\n$1\r\n3\r\n$1\r\n2\r\n$-1\r\n$1\r\n3");
    CHECK(ask("MSET a 1 b") == "-ERR wrong number of arguments for 'mset' command");
    CHECK(ask("DEL a b a c") == ":2");
    CHECK(ask("EXPIRE a 1") == ":0");
}

TEST_CASE("a reply of many large values is refused before it is made") {
    keeper ask;
    ask.server.limits.command_max = 1000;
    CHECK(ask("SET k " + std::string(500, 'x')) == "+OK");
    CHECK(ask("MGET k k none").starts_with("*3\r\n$500\r\nxxx"));
    CHECK(ask("MGET k k k") == "-ERR the reply would be too large");
}

TEST_CASE("a command that is not there, or not so, is refused with the words of Redis") {
    keeper ask;
    CHECK(ask("get") == "-ERR wrong number of arguments for 'get' command");
    CHECK(ask("PING a b") == "-ERR wrong number of arguments for 'ping' command");
    CHECK(
        ask("flushall now") == "-ERR unknown command 'flushall', with args beginning with: 'now' "
    );
    CHECK(ask("\"a\\r\\nb\"") == "-ERR unknown command 'a  b', with args beginning with: ");
    const std::string long_name(200, 'x');
    CHECK(
        ask(long_name) ==
        "-ERR unknown command '" + long_name.substr(0, 128) + "', with args beginning with: "
    );
}

TEST_CASE("what clients ask at their start has an answer") {
    keeper ask;
    CHECK(ask("COMMAND DOCS") == "*0");
    CHECK(ask("CONFIG GET save") == "*2\r\n$4\r\nsave\r\n$0\r\n");
    CHECK(ask("config get appendonly") == "*2\r\n$10\r\nappendonly\r\n$2\r\nno");
    CHECK(ask("CONFIG GET *") == "*0");
    CHECK(ask("CONFIG SET save x") == "-ERR CONFIG knows GET only");
    CHECK(ask("HELLO 3") == "-ERR unknown command 'HELLO', with args beginning with: '3' ");
}

TEST_CASE("INFO tells what is true, all of it or a section") {
    keeper ask;
    ask.server.engine = "uring";
    ask.server.started = ask.now - 5s;
    ask("SET a 1 EX 5");
    ask("SET b 22");
    ask("GET a");
    ask("GET c");
    const std::string all = ask("INFO");
    for (const char* line :
         {"# Server\r\n",
          "engine:uring\r\n",
          "uptime_in_seconds:5\r\n",
          "# Clients\r\nconnected_clients:0\r\n",
          "used_memory_dataset:5\r\n",
          "total_commands_processed:5\r\n",
          "keyspace_hits:1\r\nkeyspace_misses:1\r\n",
          "# Keyspace\r\ndb0:keys=2,expires=1\r\n"}) {
        INFO(line);
        CHECK(all.find(line) != all.npos);
    }
    CHECK(ask("INFO keyspace") == "$34\r\n# Keyspace\r\ndb0:keys=2,expires=1\r\n");
    CHECK(ask("INFO nothing") == "$0\r\n");
}

TEST_CASE("a session answers in order what came together, and what came before an error") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::kv::state server;
        const std::string all = co_await answers_to(
            "SET k v\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\n*1\r\n+PING\r\nPING\r\n", server
        );
        CHECK(all == "+OK\r\n$1\r\nv\r\n+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n");
        CHECK(server.clients == 0);
        CHECK(server.connections == 1);
        CHECK(server.bytes_out == all.size());
    });
}

TEST_CASE("a session ends with the goodbye of its client") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::kv::state server;
        const std::string all = co_await answers_to("PING\r\nQUIT\r\nPING\r\n", server);
        CHECK(all == "+PONG\r\n+OK\r\n");
    });
}

TEST_CASE("replies that are larger than all buffers arrive whole") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::kv::state server;
        const std::string value(1U << 20U, 'x');
        server.keys.set("k", value, samples::store::never, samples::kv_now());
        std::string asked;
        std::string expected;
        for (int index = 0; index < 20; ++index) {
            asked += "GET k\n";
            samples::resp::add_bulk(expected, value);
        }
        const std::string all = co_await answers_to(asked, server);
        CHECK(all.size() == expected.size());
        CHECK((all == expected));
    });
}

TEST_CASE("a stop ends a session that waits for a command") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::kv::state server;
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn(
                samples::serve_commands, std::move(pair.server), std::ref(server), no_limit
            );
            const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("PING\r\n"));
            CHECK(sent);
            std::array<std::byte, 7> answer;
            const auto received = co_await gyre::recv_exactly(pair.client, answer);
            CHECK(received);
            CHECK(server.clients == 1);
            scope.request_stop();
            const std::string rest = co_await all_of(pair.client);
            CHECK(rest == "");
            const auto closed = co_await pair.client.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(server.clients == 0);
    });
}

TEST_CASE("keys that nobody asks for go as well") {
    test::on_every_engine([]() -> gyre::task<> {
        samples::kv::state server;
        const auto now = samples::kv_now();
        for (int index = 0; index < 2500; ++index) {
            server.keys.set(std::to_string(index), "v", now, now);
        }
        server.keys.set("stays", "v", samples::store::never, now);
        auto until_gone = [&]() -> gyre::task<> {
            while (server.keys.size() != 1) {
                const auto slept = co_await gyre::sleep_for(5ms);
                REQUIRE(slept);
            }
        };
        const auto ended = co_await gyre::when_any(samples::expire_keys(server), until_gone());
        CHECK(ended.index == 1);
        CHECK(server.keys.expired() == 2500);
    });
}

TEST_SUITE_END();
