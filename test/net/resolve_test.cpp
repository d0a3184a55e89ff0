#include <gyre/net/resolve.hpp>

#include <gyre/ring/engine.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "scheduler/blocking_pool.hpp"
#include "support/fake_names.hpp"
#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

using namespace std::chrono_literals;
using gyre::endpoint;
using test::fake_names;

namespace {

// As many as the pool of the process has threads.
constexpr std::size_t threads_max = gyre::detail::blocking_pool::limits().threads;

const std::vector<endpoint> two_families = {
    endpoint("[2001:db8::1]:443"), endpoint("192.0.2.1:443")
};

// Waits until as many questions are in the system's hands. Nothing else ends the wait: a lookup
// that does not come shows as a test that does not end.
gyre::task<> until_present(fake_names& names, std::size_t count) {
    while (names.present() != count) {
        co_await gyre::yield();
    }
}

// Waits until what was answered has been given back.
void wait_for_release(fake_names& names, std::size_t count) {
    while (names.released() != count) {
        std::this_thread::yield();
    }
}

// Who is told of the end of an operation that no task awaits.
struct counting_waiter final : gyre::detail::waiter {
    counting_waiter() noexcept : waiter(&told) {}
    static void told(waiter& self) noexcept { ++static_cast<counting_waiter&>(self).count; }
    int count = 0;
};

} // namespace

TEST_SUITE_BEGIN("net/resolve");

TEST_CASE("resolve, full: every address that the system gives, in its order and none twice") {
    fake_names names;
    auto twice = two_families;
    twice.insert(twice.end(), two_families.begin(), two_families.end());
    names.answer("both.example", twice);
    test::on_every_engine([&]() -> gyre::task<> {
        const auto found = co_await gyre::resolve("both.example", "https");

        REQUIRE(found);
        CHECK(*found == two_families);
        CHECK(names.last().host == "both.example");
        CHECK(names.last().service == "https");
        CHECK(names.last().socket_type == SOCK_STREAM);
        CHECK(names.last().family == AF_UNSPEC);
        CHECK(names.last().flags == 0);
        CHECK(names.released() == names.lists());
    });
}

TEST_CASE("an address with a port is answered at once, and nobody is asked") {
    fake_names names;
    test::on_every_engine([&]() -> gyre::task<> {
        const auto turns = gyre::scheduler::current().counters().turns;
        const auto v4 = co_await gyre::resolve("127.0.0.1", 7000);
        const auto v6 = co_await gyre::resolve("2001:db8::1", "443");
        const auto scoped = co_await gyre::resolve("fe80::1%1", 80);
        const auto named_scope = co_await gyre::resolve("fe80::1%lo", 80);
        const auto no_service = co_await gyre::resolve("192.0.2.7", "");

        REQUIRE(v4);
        CHECK(*v4 == std::vector<endpoint>{endpoint("127.0.0.1:7000")});
        REQUIRE(v6);
        CHECK(*v6 == std::vector<endpoint>{endpoint("[2001:db8::1]:443")});
        REQUIRE(scoped);
        CHECK(*scoped == std::vector<endpoint>{endpoint("[fe80::1%1]:80")});
        CHECK(scoped->front().scope_id() == 1);
        REQUIRE(named_scope);
        CHECK(named_scope->front().scope_id() != 0);
        REQUIRE(no_service);
        CHECK(*no_service == std::vector<endpoint>{endpoint("192.0.2.7:0")});
        CHECK(names.asked() == 0);
        CHECK(gyre::scheduler::current().counters().turns == turns);
    });
}

TEST_CASE("what is not plainly an address and a port is the system's to judge") {
    fake_names names;
    test::on_every_engine([&]() -> gyre::task<> {
        const auto before = names.asked();
        const auto short_form = co_await gyre::resolve("127.1", 80);
        const auto in_brackets = co_await gyre::resolve("[::1]", 80);
        const auto with_port = co_await gyre::resolve("127.0.0.1:80", 80);
        const auto like_unix = co_await gyre::resolve("unix", "@name");
        const auto no_name = co_await gyre::resolve("127.0.0.1", "no-such-service");
        const auto too_large = co_await gyre::resolve("127.0.0.1", "65536");
        const std::string huge(5000, 'a');
        const auto too_long = co_await gyre::resolve(huge, huge);

        CHECK(short_form.error() == gyre::resolve_errc::no_name);
        CHECK(in_brackets.error() == gyre::resolve_errc::no_name);
        CHECK(with_port.error() == gyre::resolve_errc::no_name);
        CHECK(like_unix.error() == gyre::resolve_errc::no_name);
        CHECK(no_name.error() == gyre::resolve_errc::no_name);
        CHECK(too_large.error() == gyre::resolve_errc::no_name);
        CHECK(too_long.error() == gyre::resolve_errc::no_name);
        CHECK(names.asked() == before + 7);
    });
}

TEST_CASE("the options of resolve are the hints of the system's call") {
    fake_names names;
    names.answer("host.example", two_families);
    names.answer("", two_families);
    test::on_every_engine([&]() -> gyre::task<> {
        auto found = co_await gyre::resolve(
            "host.example", "domain", {.family = gyre::address_family::ipv4, .datagram = true}
        );
        CHECK(found);
        CHECK(names.last().family == AF_INET);
        CHECK(names.last().socket_type == SOCK_DGRAM);

        found = co_await gyre::resolve(
            "host.example", 53, {.family = gyre::address_family::ipv6, .v4_mapped = true}
        );
        CHECK(found);
        CHECK(names.last().service == "53");
        CHECK(names.last().family == AF_INET6);
        CHECK(names.last().flags == (AI_V4MAPPED | AI_NUMERICSERV));

        found = co_await gyre::resolve("", "", {.passive = true, .configured_only = true});
        CHECK(found);
        CHECK(names.last().host.empty());
        CHECK(names.last().service == "0");
        CHECK(names.last().flags == (AI_PASSIVE | AI_ADDRCONFIG));

        found = co_await gyre::resolve("host.example", "x", {.numeric_host = true});
        CHECK(found);
        CHECK(names.last().flags == AI_NUMERICHOST);

        // The system knows what it says to an address of the other family.
        found = co_await gyre::resolve("127.0.0.1", 80, {.family = gyre::address_family::ipv6});
        CHECK(found.error() == gyre::resolve_errc::no_name);
        CHECK(names.last().host == "127.0.0.1");
    });
}

TEST_CASE("resolve, peer error: what the system answers is a resolve_errc, or an errno") {
    fake_names names;
    names.fail("again.example", EAI_AGAIN);
    names.fail("fail.example", EAI_FAIL);
    names.fail("memory.example", EAI_MEMORY);
    names.fail("files.example", EAI_SYSTEM, EMFILE);
    names.fail("nothing.example", EAI_SYSTEM, 0);
    names.answer("empty.example", {});
    names.answer("unix.example", {endpoint("unix:@x")});
    test::on_every_engine([&]() -> gyre::task<> {
        const auto unknown = co_await gyre::resolve("nobody.example", 80);
        const auto again = co_await gyre::resolve("again.example", 80);
        const auto fail = co_await gyre::resolve("fail.example", 80);
        const auto memory = co_await gyre::resolve("memory.example", 80);
        const auto files = co_await gyre::resolve("files.example", 80);
        const auto nothing = co_await gyre::resolve("nothing.example", 80);
        const auto empty = co_await gyre::resolve("empty.example", 80);
        const auto foreign = co_await gyre::resolve("unix.example", 80);

        CHECK(unknown.error() == gyre::resolve_errc::no_name);
        CHECK(again.error() == gyre::resolve_errc::try_again);
        CHECK(fail.error() == gyre::resolve_errc::failed);
        CHECK(memory.error() == gyre::resolve_errc::memory);
        CHECK(memory.error() == std::errc::not_enough_memory);
        CHECK(files.error() == gyre::errno_code(EMFILE));
        CHECK(nothing.error() == gyre::errno_code(EIO));
        CHECK(empty.error() == gyre::resolve_errc::no_data);
        CHECK(foreign.error() == gyre::resolve_errc::no_data);
        CHECK(names.released() == names.lists() - (names.asked() / 8)); // Of empty.example: none.
    });
}

TEST_CASE("a host or a service with a zero in it is never cut at it") {
    fake_names names;
    names.answer("host", two_families);
    test::on_every_engine([&]() -> gyre::task<> {
        const auto host = co_await gyre::resolve(std::string_view("host\0evil", 9), 80);
        const auto service = co_await gyre::resolve("host", std::string_view("80\0x", 4));
        CHECK(host.error() == gyre::resolve_errc::no_name);
        CHECK(service.error() == gyre::resolve_errc::service);
        CHECK(names.asked() == 0);
    });
}

TEST_CASE("resolve, stop before submission: nobody is asked") {
    fake_names names;
    test::on_every_engine([&]() -> gyre::task<> {
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto found = co_await gyre::resolve("nobody.example", 80);
            CHECK(found.error() == gyre::errno_code(ECANCELED));
            const auto number = co_await gyre::resolve("127.0.0.1", 80);
            CHECK(number.error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
        CHECK(names.asked() == 0);
    });
}

TEST_CASE("resolve, stop in flight: the task goes on at once, and the late answer is dropped") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        names.answer("slow.example", two_families);
        names.hold();
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto found = co_await gyre::resolve("slow.example", 80);
                seen = found.error();
            });
            co_await until_present(names, 1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);

        CHECK(seen == gyre::errno_code(ECANCELED));
        CHECK(names.present() == 1); // The system still looks.
        names.let_go();
        wait_for_release(names, 1);
        co_await gyre::yield(); // The answer comes here, where nobody waits for it.
        const auto next = co_await gyre::resolve("slow.example", 80);
        REQUIRE(next);
        CHECK(*next == two_families);
    });
}

TEST_CASE("resolve, stop after completion: the answer is the result and the stop stays visible") {
    fake_names names;
    names.answer("host.example", two_families);
    test::on_every_engine([&]() -> gyre::task<> {
        bool has_value = false;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto found = co_await gyre::resolve("host.example", 80);
            scope.cancel();
            has_value = found.has_value();
            saw_stop = gyre::this_task::canceled();
            co_return;
        };
        co_await gyre::with_scope(body);
        CHECK(has_value);
        CHECK(saw_stop);
    });
}

TEST_CASE("resolve, destroyed while idle: a lookup that nobody awaits asks nobody") {
    fake_names names;
    test::on_every_engine([&]() -> gyre::task<> {
        {
            const auto unused = gyre::resolve("nobody.example", 80);
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        CHECK(names.asked() == 0);
    });
}

TEST_CASE("a lookup destroyed in flight, or before a thread has taken it, tells nobody") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        names.answer("slow.example", two_families);
        names.hold();
        counting_waiter told;
        gyre::detail::stop_state stop;
        gyre::detail::run_loop& loop = *gyre::detail::run_loop::current();
        gyre::resolve_description description("slow.example", 80, {});
        {
            std::vector<std::unique_ptr<gyre::detail::resolve_awaiter>> started;
            for (std::size_t index = 0; index < threads_max + 3; ++index) {
                started.push_back(std::make_unique<gyre::detail::resolve_awaiter>(description));
                const bool over = started.back()->start({&loop, &stop, nullptr}, told);
                CHECK(!over);
            }
            co_await until_present(names, threads_max);
        }
        names.let_go();
        wait_for_release(names, threads_max);
        co_await gyre::yield();
        co_await gyre::yield();
        CHECK(told.count == 0);
        CHECK(names.asked() == threads_max);
    });
}

TEST_CASE("a lookup that exceeds its limit is timed out while the system still looks") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        names.answer("slow.example", two_families);
        names.hold();
        const auto found = co_await gyre::with_timeout(gyre::resolve("slow.example", 80), 5ms);
        CHECK(found.error() == gyre::errc::timed_out);
        CHECK(names.lists() == 0);
        names.let_go();
        if (names.asked() == 1) { // Else it was withdrawn before a thread took it.
            wait_for_release(names, 1);
        }
        const auto in_time = co_await gyre::with_timeout(gyre::resolve("slow.example", 80), 1h);
        CHECK(in_time);
    });
}

TEST_CASE("a wait for a name ends when a stop is asked for, if it is marked idle") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        names.hold();
        std::error_code idle;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto found = co_await gyre::idle(gyre::resolve("slow.example", 80));
                idle = found.error();
            });
            co_await until_present(names, 1);
            scope.request_stop();
        };
        co_await gyre::with_scope(body);
        CHECK(idle == gyre::errc::stopped);
    });
}

TEST_CASE("lookups that find every thread busy wait, and are withdrawn when they are canceled") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        names.answer("slow.example", two_families);
        names.hold();
        std::size_t right = 0;
        std::size_t canceled = 0;
        constexpr std::size_t many = 100;
        auto outer = [&](gyre::scope& stay) -> gyre::task<> {
            const auto look_up = [&]() -> gyre::task<> {
                const auto found = co_await gyre::resolve("slow.example", 80);
                right += found && *found == two_families ? 1U : 0U;
                canceled += found.error() == gyre::errno_code(ECANCELED) ? 1U : 0U;
            };
            for (std::size_t index = 0; index < threads_max; ++index) {
                stay.spawn(look_up);
            }
            co_await until_present(names, threads_max);
            auto inner = [&](gyre::scope& leave) -> gyre::task<> {
                for (std::size_t index = 0; index < many; ++index) {
                    (index % 2 == 0 ? stay : leave).spawn(look_up);
                }
                co_await gyre::yield();
                leave.cancel();
            };
            co_await gyre::with_scope(inner);
            CHECK(canceled == many / 2);
            CHECK(names.asked() == threads_max);
            names.let_go();
            const auto joined = co_await stay.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(outer);

        CHECK(right == threads_max + many / 2);
        CHECK(names.asked() == threads_max + many / 2);
        CHECK(names.released() == names.asked());
    });
}

TEST_CASE("a branch of when_any that lost its race was canceled in the system's hands") {
    test::on_every_engine([]() -> gyre::task<> {
        fake_names names;
        names.hold();
        const auto ended =
            co_await gyre::when_any(gyre::resolve("slow.example", 80), gyre::sleep_for(1ms));
        CHECK(ended.index == 1);
        CHECK(std::get<0>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("a scheduler may end while the system looks up a name for it") {
    for (const gyre::engine_kind engine : test::engines()) {
        fake_names names;
        names.answer("slow.example", two_families);
        names.hold();
        gyre::scheduler_options options;
        options.engine = engine;
        gyre::run(options, [&]() -> gyre::task<> {
            gyre::spawn([]() -> gyre::task<> {
                const auto found = co_await gyre::resolve("slow.example", 80);
                CHECK(found.error() == gyre::errno_code(ECANCELED));
            });
            co_await until_present(names, 1);
        });
        CHECK(names.present() == 1);
        names.let_go();
        wait_for_release(names, 1); // Freed by the pool's thread; a leak checker knows.
    }
}

TEST_CASE("the system's own answers: localhost, services by name, and none for a number only") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto local = co_await gyre::resolve("localhost", "7000");
        REQUIRE(local);
        REQUIRE(!local->empty());
        for (const endpoint& each : *local) {
            CHECK(each.is_loopback());
            CHECK(each.port() == 7000);
        }

        const auto this_machine = co_await gyre::resolve("", 80);
        REQUIRE(this_machine);
        CHECK(this_machine->front().is_loopback());
        const auto every_address = co_await gyre::resolve("", 80, {.passive = true});
        REQUIRE(every_address);
        CHECK(every_address->front().is_unspecified());

        const auto short_form = co_await gyre::resolve("127.1", 80, {.numeric_host = true});
        REQUIRE(short_form);
        CHECK(*short_form == std::vector<endpoint>{endpoint("127.0.0.1:80")});

        const auto name = co_await gyre::resolve("localhost", 80, {.numeric_host = true});
        CHECK(name.error() == gyre::resolve_errc::no_name);
        const auto no_service = co_await gyre::resolve("127.0.0.1", "no-such-service");
        CHECK(no_service.error() == gyre::resolve_errc::service);
        const auto unix_family =
            co_await gyre::resolve("localhost", 80, {.family = gyre::address_family::unix_domain});
        CHECK(unix_family.error() == gyre::resolve_errc::family);
    });
}

TEST_CASE("an error of a lookup has the name and the text of gai_strerror") {
    for (const auto code :
         {gyre::resolve_errc::bad_flags,
          gyre::resolve_errc::no_name,
          gyre::resolve_errc::try_again,
          gyre::resolve_errc::failed,
          gyre::resolve_errc::no_data,
          gyre::resolve_errc::family,
          gyre::resolve_errc::bad_socket_type,
          gyre::resolve_errc::service,
          gyre::resolve_errc::address_family,
          gyre::resolve_errc::memory,
          gyre::resolve_errc::overflow,
          gyre::resolve_errc::bad_name}) {
        const std::error_code error = code;
        CHECK(error.category() == gyre::resolve_category());
        // The C library has not a text for each of its own codes.
        const std::string system = ::gai_strerror(error.value());
        CHECK((error.message() == system || system == "Unknown error"));
        CHECK(error.message() != "Unknown error");
        CHECK(gyre::describe(error).starts_with("EAI_"));
    }
    CHECK(gyre::describe(gyre::resolve_errc::no_name) == "EAI_NONAME: Name or service not known");
    CHECK(std::string_view(gyre::resolve_category().name()) == "gyre.resolve");
    // One that only a newer C library has.
    const std::error_code newer(-777, gyre::resolve_category());
    CHECK(gyre::describe(newer) == "gyre.resolve -777: " + newer.message());
    CHECK(newer.message() == ::gai_strerror(-777));
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("net/resolve/stress");

TEST_CASE("cancels, limits and ends of schedulers race with answers") {
    // Over all rounds, since the question of a lookup that was canceled may come in a later one.
    fake_names names;
    names.answer("host.example", two_families);
    std::size_t begun = 0;
    test::fuzz_every_engine({.usually = 600ms}, [&](test::trial& round, gyre::engine_kind engine) {
        std::atomic<std::size_t> ended{0};
        const std::size_t count = 1 + round.below(40);
        begun += count;
        const bool leave_some = round.one_in(3);
        {
            // Somebody who opens and shuts the way, as a busy name server does.
            std::atomic<bool> over{false};
            std::thread server([&, seed = round.next()] {
                test::dice mine(seed);
                while (!over) {
                    mine.one_in(2) ? names.hold() : names.let_go();
                    std::this_thread::sleep_for(std::chrono::nanoseconds(mine.any_size(17)));
                }
                names.let_go();
            });
            gyre::scheduler_options options;
            options.engine = engine;
            gyre::run(options, [&]() -> gyre::task<> {
                const auto look_up = [&](std::uint64_t seed) -> gyre::task<> {
                    test::dice mine(seed);
                    const auto limit = std::chrono::nanoseconds(mine.any_size(20));
                    gyre::result<std::vector<endpoint>> found = gyre::errc::closed;
                    switch (mine.below(3)) {
                    case 0:
                        found = co_await gyre::resolve("host.example", 80);
                        break;
                    case 1:
                        found =
                            co_await gyre::with_timeout(gyre::resolve("host.example", 80), limit);
                        break;
                    default: {
                        auto any = co_await gyre::when_any(
                            gyre::resolve("host.example", 80), gyre::sleep_for(limit)
                        );
                        found = std::get<0>(std::move(any.outcomes));
                    }
                    }
                    round.expect(
                        found ? *found == two_families
                              : found.error() == gyre::errno_code(ECANCELED) ||
                                    found.error() == gyre::errc::timed_out,
                        "a lookup ends with what nobody has answered"
                    );
                    ++ended;
                };
                if (leave_some) {
                    for (std::size_t index = 0; index < count; ++index) {
                        gyre::spawn(look_up, round.next());
                    }
                    const auto slept =
                        co_await gyre::sleep_for(std::chrono::nanoseconds(round.any_size(20)));
                    static_cast<void>(slept);
                    co_return;
                }
                auto body = [&](gyre::scope& scope) -> gyre::task<> {
                    for (std::size_t index = 0; index < count; ++index) {
                        scope.spawn(look_up, round.next());
                    }
                    if (round.one_in(2)) {
                        const auto slept =
                            co_await gyre::sleep_for(std::chrono::nanoseconds(round.any_size(20)));
                        static_cast<void>(slept);
                        scope.cancel();
                    }
                    const auto joined = co_await scope.join();
                    static_cast<void>(joined);
                };
                co_await gyre::with_scope(body);
            });
            over = true;
            server.join();
        }
        round.expect(ended == count, "a lookup does not end, or ends twice");
        while (names.present() != 0 || names.released() != names.lists()) {
            std::this_thread::yield();
        }
        round.expect(names.asked() <= begun, "a lookup is made twice");
    });
}

TEST_SUITE_END();
