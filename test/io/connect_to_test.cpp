#include <gyre/io/connect_to.hpp>

#include <gyre/ring/engine.hpp>

#include "support/fake_names.hpp"
#include "support/fuzz.hpp"
#include "support/raw_socket.hpp"
#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using gyre::connect_attempt;
using gyre::endpoint;
using test::fake_names;

namespace {

// Where nobody listens: bound, so that nobody else gets it.
class refusing_port {
public:
    refusing_port() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        at = endpoint::loopback_v4(0);
        auto size = static_cast<socklen_t>(at.size());
        auto* address = static_cast<sockaddr*>(at.data());
        REQUIRE(socket_.get() >= 0);
        REQUIRE(::bind(socket_.get(), address, size) == 0);
        REQUIRE(::getsockname(socket_.get(), address, &size) == 0);
    }
    endpoint at;

private:
    test::raw_socket socket_;
};

// A port that answers nothing: its backlog is full, so the kernel drops what comes.
class silent_port {
public:
    silent_port() : listener_(gyre::listener::bind(endpoint::loopback_v4(0), {.backlog = 0})) {
        at = listener_.local_endpoint().value();
    }
    gyre::task<> fill() {
        auto connected = co_await gyre::or_throw(gyre::stream::connect(at));
        first_.emplace(std::move(connected));
    }
    endpoint at;

private:
    gyre::listener listener_;
    std::optional<gyre::stream> first_;
};

// An open one.
struct open_port {
    open_port() : listener(gyre::listener::bind(endpoint::loopback_v4(0))) {
        at = listener.local_endpoint().value();
    }
    gyre::listener listener;
    endpoint at;
};

// A TCP connect there goes nowhere, on every machine.
const endpoint no_way = "224.0.0.1:9";

std::uint64_t timers_fired() {
    return gyre::scheduler::current().counters().timers_fired;
}

std::string unix_name(const char* what, std::size_t number = 0) {
    return "unix:@gyre-connect-to-" + std::string(what) + "-" + std::to_string(::getpid()) + "-" +
           std::to_string(number);
}

gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield(); // The turn that submits them.
}

} // namespace

TEST_SUITE_BEGIN("io/connect_to");

TEST_CASE("a host is connected to by its name and the number of a port, or a service") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        open_port open;
        names.answer("host.example", {open.at});

        const auto by_port = co_await gyre::connect_to("host.example", open.at.port());
        REQUIRE(by_port);
        CHECK(by_port->peer_endpoint().value() == open.at);
        CHECK(names.last().service == std::to_string(open.at.port()));
        CHECK(by_port->option<gyre::no_delay>().value());

        const auto by_service =
            co_await gyre::connect_to("host.example", "echo", {.no_delay = false});
        REQUIRE(by_service);
        CHECK(names.last().service == "echo");
        CHECK(!by_service->option<gyre::no_delay>().value());
    });
}

TEST_CASE("an address needs nobody's answer") {
    test::on_every_engine([]() -> gyre::task<> {
        const fake_names names;
        open_port open;
        const auto connected = co_await gyre::connect_to("127.0.0.1", open.at.port());
        CHECK(connected);
        CHECK(names.asked() == 0);
    });
}

TEST_CASE("a host without a name is the error of the lookup, and nothing was tried") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        names.fail("slow.example", EAI_AGAIN);
        std::vector<connect_attempt> attempts(3);
        const auto unknown =
            co_await gyre::connect_to("nobody.example", 80, {.attempts = &attempts});
        CHECK(unknown.error() == gyre::resolve_errc::no_name);
        CHECK(attempts.empty());
        const auto slow = co_await gyre::connect_to("slow.example", "http");
        CHECK(slow.error() == gyre::resolve_errc::try_again);
    });
}

TEST_CASE("when an attempt fails the next one starts at once, without waiting for its time") {
    test::on_every_engine([]() -> gyre::task<> {
        const refusing_port first;
        const refusing_port second;
        open_port open;
        const auto before = test::open_descriptors();
        std::vector<connect_attempt> attempts;
        const auto fired = timers_fired();

        std::vector<endpoint> candidates = {first.at, no_way, second.at, open.at};
        const auto connected = co_await gyre::connect_to(
            std::move(candidates), {.attempt_delay = 2s, .attempts = &attempts}
        );

        REQUIRE(connected);
        CHECK(timers_fired() == fired);
        CHECK(connected->peer_endpoint().value() == open.at);
        REQUIRE(attempts.size() == 4);
        CHECK(attempts[0].to == first.at);
        CHECK(attempts[0].error == gyre::errno_code(ECONNREFUSED));
        CHECK(attempts[1].error == gyre::errno_code(ENETUNREACH));
        CHECK(attempts[2].error == gyre::errno_code(ECONNREFUSED));
        CHECK(attempts[3].to == open.at);
        CHECK(!attempts[3].error);
        CHECK(test::open_descriptors() == before + 1);
    });
}

TEST_CASE("an attempt without an answer gets its time, and then the next one runs beside it") {
    test::on_every_engine([]() -> gyre::task<> {
        silent_port silent;
        co_await silent.fill();
        const refusing_port refusing;
        open_port open;
        const auto before = test::open_descriptors();
        std::vector<connect_attempt> attempts;
        const auto began = gyre::clock::now();

        // The failure starts the silent one, and from then on its time counts.
        std::vector<endpoint> candidates = {refusing.at, silent.at, open.at};
        const auto connected = co_await gyre::connect_to(
            std::move(candidates), {.attempt_delay = 20ms, .attempts = &attempts}
        );

        CHECK(gyre::clock::now() - began >= 20ms);
        REQUIRE(connected);
        CHECK(connected->peer_endpoint().value() == open.at);
        REQUIRE(attempts.size() == 3);
        CHECK(attempts[0].error == gyre::errno_code(ECONNREFUSED));
        CHECK(attempts[1].error == gyre::errno_code(ECANCELED));
        CHECK(!attempts[2].error);
        CHECK(test::open_descriptors() == before + 1); // The silent one was closed.
    });
}

TEST_CASE("attempts start at least 10 ms apart, whatever was asked for") {
    test::on_every_engine([]() -> gyre::task<> {
        silent_port silent;
        co_await silent.fill();
        open_port open;
        const auto began = gyre::clock::now();
        std::vector<endpoint> candidates = {silent.at, silent.at, open.at};
        const auto connected =
            co_await gyre::connect_to(std::move(candidates), {.attempt_delay = 0ns});
        CHECK(connected);
        CHECK(gyre::clock::now() - began >= 20ms);
    });
}

TEST_CASE("the first address gets its time even if the second would answer") {
    test::on_every_engine([]() -> gyre::task<> {
        open_port first;
        open_port second;
        std::vector<connect_attempt> attempts;
        std::vector<endpoint> candidates = {first.at, second.at};
        const auto connected =
            co_await gyre::connect_to(std::move(candidates), {.attempts = &attempts});
        REQUIRE(connected);
        CHECK(connected->peer_endpoint().value() == first.at);
        CHECK(attempts.size() == 1);
    });
}

TEST_CASE("the families take turns, beginning with that of the first address") {
    test::on_every_engine([]() -> gyre::task<> {
        const refusing_port a;
        const refusing_port b;
        const refusing_port c;
        // Refused or without a way, the order is the same.
        const endpoint v6 = endpoint::loopback_v6(a.at.port());
        const endpoint other_v6 = endpoint::loopback_v6(b.at.port());
        fake_names names;
        names.answer("v6.example", {v6, other_v6, a.at, b.at, c.at});
        names.answer("v4.example", {a.at, b.at, v6});
        std::vector<connect_attempt> attempts;

        const auto first = co_await gyre::connect_to("v6.example", 80, {.attempts = &attempts});
        CHECK(first.error() == gyre::errno_code(ECONNREFUSED));
        REQUIRE(attempts.size() == 5);
        CHECK(attempts[0].to == v6);
        CHECK(attempts[1].to == a.at);
        CHECK(attempts[2].to == other_v6);
        CHECK(attempts[3].to == b.at);
        CHECK(attempts[4].to == c.at);

        const auto second = co_await gyre::connect_to("v4.example", 80, {.attempts = &attempts});
        CHECK(second.error() == gyre::errno_code(ECONNREFUSED));
        REQUIRE(attempts.size() == 3);
        CHECK(attempts[0].to == a.at);
        CHECK(attempts[1].to == v6);
        CHECK(attempts[2].to == b.at);
    });
}

TEST_CASE("only addresses of the family asked for are tried") {
    test::on_every_engine([]() -> gyre::task<> {
        open_port open;
        std::vector<connect_attempt> attempts;
        std::vector<endpoint> candidates = {endpoint::loopback_v6(9), open.at};
        const auto connected = co_await gyre::connect_to(
            candidates, {.family = gyre::address_family::ipv4, .attempts = &attempts}
        );
        CHECK(connected);
        CHECK(attempts.size() == 1);

        const auto none =
            co_await gyre::connect_to(candidates, {.family = gyre::address_family::unix_domain});
        CHECK(none.error() == gyre::errno_code(EDESTADDRREQ));
        const auto empty = co_await gyre::connect_to(std::vector<endpoint>());
        CHECK(empty.error() == gyre::errno_code(EDESTADDRREQ));

        fake_names names;
        const auto asked =
            co_await gyre::connect_to("host.example", 80, {.family = gyre::address_family::ipv6});
        CHECK(!asked);
        CHECK(names.last().family == AF_INET6);
    });
}

TEST_CASE("if all fail, the error is the first that does not only say that there is no way") {
    test::on_every_engine([]() -> gyre::task<> {
        const refusing_port refusing;
        const endpoint missing = unix_name("missing");
        const auto before = test::open_descriptors();
        const auto fired = timers_fired();

        std::vector<endpoint> candidates = {no_way, refusing.at, missing};
        const auto refused = co_await gyre::connect_to(candidates);
        CHECK(refused.error() == gyre::errno_code(ECONNREFUSED));

        candidates = {no_way, no_way};
        const auto unreachable = co_await gyre::connect_to(candidates);
        CHECK(unreachable.error() == gyre::errno_code(ENETUNREACH));
        CHECK(timers_fired() == fired); // The last failure ends it, not the time for a next one.
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("a limit on the whole ends every attempt, and none of them leaks") {
    test::on_every_engine([]() -> gyre::task<> {
        silent_port silent;
        co_await silent.fill();
        silent_port other;
        co_await other.fill();
        const auto before = test::open_descriptors();
        std::vector<connect_attempt> attempts;
        std::vector<endpoint> candidates = {silent.at, other.at, silent.at};
        const auto late = co_await gyre::with_timeout(
            gyre::connect_to(std::move(candidates), {.attempt_delay = 10ms, .attempts = &attempts}),
            25ms
        );

        CHECK(late.error() == gyre::errc::timed_out);
        REQUIRE(!attempts.empty());
        CHECK(attempts.front().error == gyre::errno_code(ECANCELED));
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect_to is canceled before it begins, while it asks, and while it connects") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        silent_port silent;
        co_await silent.fill();
        names.answer("host.example", {silent.at, silent.at});
        const auto before = test::open_descriptors();
        std::vector<std::error_code> seen;
        const auto connect = [&]() -> gyre::task<> {
            const auto connected = co_await gyre::connect_to("host.example", 80);
            seen.push_back(connected.error());
        };
        auto at_once = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            co_await connect();
        };
        co_await gyre::with_scope(at_once);
        CHECK(names.asked() == 0);

        names.hold();
        auto asking = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn(connect);
            while (names.present() != 1) {
                co_await gyre::yield();
            }
            scope.cancel();
        };
        co_await gyre::with_scope(asking);
        names.let_go();

        auto connecting = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn(connect);
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(connecting);

        CHECK(seen == std::vector<std::error_code>(3, gyre::errno_code(ECANCELED)));
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect_to that nobody awaits does nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        const fake_names names;
        const auto before = test::open_descriptors();
        {
            const auto unused = gyre::connect_to("host.example", "http");
            const auto unused_as_well = gyre::connect_to(std::vector<endpoint>{no_way});
            static_cast<void>(unused);
            static_cast<void>(unused_as_well);
        }
        co_await gyre::yield();
        CHECK(names.asked() == 0);
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("of two attempts that connect at the same time one is taken and the other closed") {
    test::on_every_engine([]() -> gyre::task<> {
        // Unix domain, where a full backlog holds a connect up and an accept lets it through.
        std::vector<gyre::listener> listeners;
        std::vector<gyre::stream> filling;
        std::vector<endpoint> candidates;
        const gyre::listen_options small{.backlog = 0};
        for (std::size_t index = 0; index < 2; ++index) {
            candidates.emplace_back(unix_name("full", index));
            listeners.push_back(gyre::listener::bind(candidates.back(), small));
            auto first = co_await gyre::or_throw(gyre::stream::connect(candidates.back()));
            filling.push_back(std::move(first));
        }
        const auto before = test::open_descriptors();
        std::optional<gyre::stream> taken;
        std::vector<connect_attempt> attempts;
        std::vector<gyre::stream> accepted;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                auto connected = co_await gyre::connect_to(
                    candidates, {.attempt_delay = 10ms, .attempts = &attempts}
                );
                REQUIRE(connected);
                taken.emplace(*std::move(connected));
            });
            co_await until_in_flight(2);
            for (gyre::listener& each : listeners) {
                auto made_room = co_await gyre::or_throw(each.accept());
                accepted.push_back(std::move(made_room));
            }
        };
        co_await gyre::with_scope(body);

        REQUIRE(taken);
        REQUIRE(attempts.size() == 2);
        const bool first_won = !attempts[0].error;
        CHECK(first_won != !attempts[1].error);
        CHECK(attempts[first_won ? 1 : 0].error == gyre::errno_code(ECANCELED));
        CHECK(test::open_descriptors() == before + 3); // The taken one, and two that made room.
    });
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("io/connect_to/stress");

TEST_CASE("connections that come, fail and hang at any moment leave one stream or none") {
    test::fuzz_every_engine({.usually = 600ms}, [](test::trial& round, gyre::engine_kind engine) {
        const std::size_t before = test::open_descriptors();
        gyre::scheduler_options options;
        options.engine = engine;
        options.submission_entries = 2U << round.below(4);
        gyre::run(options, [&]() -> gyre::task<> {
            // Full, open or missing; some of the full ones are drained after a while.
            std::vector<gyre::listener> listeners;
            std::vector<gyre::stream> filling;
            std::vector<endpoint> candidates;
            std::size_t possible = 0;
            for (std::size_t count = 1 + round.below(5); count != 0; --count) {
                candidates.emplace_back(unix_name("stress", candidates.size()));
                if (round.one_in(3)) {
                    continue;
                }
                const gyre::listen_options small{.backlog = 0};
                listeners.push_back(gyre::listener::bind(candidates.back(), small));
                ++possible;
                if (round.one_in(2)) {
                    auto first = co_await gyre::or_throw(gyre::stream::connect(candidates.back()));
                    filling.push_back(std::move(first));
                }
            }
            std::vector<connect_attempt> attempts;
            std::optional<gyre::result<gyre::stream>> outcome;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    auto connected = co_await gyre::connect_to(
                        candidates, {.attempt_delay = 10ms, .attempts = &attempts}
                    );
                    outcome.emplace(std::move(connected));
                });
                const auto slept =
                    co_await gyre::sleep_for(std::chrono::nanoseconds(round.any_size(25)));
                static_cast<void>(slept);
                for (gyre::listener& each : listeners) {
                    if (round.one_in(2)) {
                        const auto room = co_await gyre::with_timeout(each.accept(), 0ns);
                        static_cast<void>(room);
                    }
                }
                if (round.one_in(2)) {
                    const auto more =
                        co_await gyre::sleep_for(std::chrono::nanoseconds(round.any_size(22)));
                    static_cast<void>(more);
                }
                scope.cancel();
            };
            co_await gyre::with_scope(body);

            round.expect(outcome.has_value(), "it does not end");
            const gyre::result<gyre::stream>& connected = *outcome;
            std::size_t won = 0;
            for (const connect_attempt& each : attempts) {
                won += each.error ? 0U : 1U;
                round.expect(
                    !each.error || each.error == gyre::errno_code(ECANCELED) ||
                        each.error == gyre::errno_code(ECONNREFUSED),
                    "an attempt fails for another reason"
                );
            }
            round.expect(won == (connected ? 1U : 0U), "not the attempt that won is the result");
            if (connected) {
                round.expect(connected->peer_endpoint().has_value(), "it is not connected");
            } else if (possible == 0) {
                round.expect(
                    connected.error() == gyre::errno_code(ECONNREFUSED) ||
                        connected.error() == gyre::errno_code(ECANCELED),
                    "it fails for another reason"
                );
            } else {
                round.expect(
                    connected.error() == gyre::errno_code(ECANCELED),
                    "it gives up although one might connect"
                );
            }
            co_await until_in_flight(0); // An answer to a cancel may be on its way.
        });
        const std::size_t after = test::open_descriptors();
        if (after != before) {
            round.fail(std::to_string(before) + " descriptors became " + std::to_string(after));
        }
    });
}

TEST_SUITE_END();
