#include <gyre/task/stop.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

TEST_SUITE_BEGIN("task/stop");

namespace {

using namespace std::chrono_literals;

// Collects the log while it lives.
class captured_log {
public:
    captured_log() noexcept {
        lines().clear();
        previous_ = gyre::set_log_hook(&take);
    }
    ~captured_log() { gyre::set_log_hook(previous_); }
    captured_log(const captured_log&) = delete;
    captured_log& operator=(const captured_log&) = delete;

    // How many lines hold all of the texts.
    static std::size_t count(std::initializer_list<std::string> texts) {
        std::size_t found = 0;
        for (const std::string& line : lines()) {
            bool all = true;
            for (const std::string& text : texts) {
                all = all && line.find(text) != std::string::npos;
            }
            found += all ? 1 : 0;
        }
        return found;
    }

private:
    static std::vector<std::string>& lines() {
        static std::vector<std::string> all;
        return all;
    }
    static void take(gyre::log_level, std::string_view text) noexcept {
        lines().emplace_back(text);
    }

    gyre::log_hook previous_;
};

gyre::task<gyre::result<void>> one_nap() {
    const auto slept = co_await gyre::sleep_for(1h);
    co_return slept;
}

} // namespace

TEST_CASE("stop_requested and canceled tell the two levels of stopping apart") {
    test::on_every_engine([]() -> gyre::task<> {
        co_await gyre::with_scope([](gyre::scope& tasks) -> gyre::task<> {
            CHECK_FALSE(gyre::this_task::stop_requested());
            CHECK_FALSE(gyre::this_task::canceled());

            tasks.request_stop();
            CHECK(gyre::this_task::stop_requested());
            CHECK_FALSE(gyre::this_task::canceled());

            tasks.cancel();
            CHECK(gyre::this_task::stop_requested());
            CHECK(gyre::this_task::canceled());
            co_return;
        });
        CHECK_FALSE(gyre::this_task::stop_requested());
    });
}

TEST_CASE("a wish to stop reaches awaited tasks, children, branches, limits and inner scopes") {
    test::on_every_engine([]() -> gyre::task<> {
        int saw = 0;
        int ready = 0;
        auto waiting = [&]() -> gyre::task<> {
            ++ready;
            while (!gyre::this_task::stop_requested()) {
                co_await gyre::yield();
            }
            CHECK_FALSE(gyre::this_task::canceled());
            ++saw;
        };
        auto awaited = [&]() -> gyre::task<> { co_await waiting(); };
        auto limited = [&]() -> gyre::task<> {
            const auto ended = co_await gyre::with_timeout(waiting(), 1h);
            CHECK(ended);
        };
        auto branched = [&]() -> gyre::task<> {
            const auto ended = co_await gyre::when_all(waiting(), waiting());
            static_cast<void>(ended);
        };
        auto inner_body = [&](gyre::scope& inner) -> gyre::task<> {
            inner.spawn(waiting);
            co_await waiting();
        };
        auto nested = [&]() -> gyre::task<> { co_await gyre::with_scope(inner_body); };
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(waiting);
            tasks.spawn(awaited);
            tasks.spawn(limited);
            tasks.spawn(branched);
            tasks.spawn(nested);
            while (ready < 7) {
                co_await gyre::yield();
            }
            tasks.request_stop();
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(saw == 7);
    });
}

TEST_CASE("what starts after a wish to stop knows of it") {
    test::on_every_engine([]() -> gyre::task<> {
        int saw = 0;
        auto looking = [&]() -> gyre::task<> {
            saw += gyre::this_task::stop_requested() && !gyre::this_task::canceled() ? 1 : 0;
            co_return;
        };
        auto inner = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn(looking);
            co_await looking();
        };
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.request_stop();
            tasks.spawn(looking);
            co_await looking();
            const auto limited = co_await gyre::with_timeout(looking(), 1h);
            CHECK(limited);
            const auto both = co_await gyre::when_all(looking(), looking());
            static_cast<void>(both);
            co_await gyre::with_scope(inner);
        };
        co_await gyre::with_scope(body);
        CHECK(saw == 7);
    });
}

TEST_CASE("a wish to stop leaves waits that are not idle alone") {
    test::on_every_engine([]() -> gyre::task<> {
        co_await gyre::with_scope([](gyre::scope& tasks) -> gyre::task<> {
            tasks.request_stop();
            const auto slept = co_await gyre::sleep_for(1ms);
            CHECK(slept);
        });
    });
}

TEST_CASE("an idle wait in flight ends with stopped when a stop is asked for") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            std::array<std::byte, 8> buffer;
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                tasks.request_stop();
            });
            const auto received = co_await gyre::idle(pair.server.recv(buffer));
            CHECK(received.error() == gyre::errc::stopped);
            CHECK(gyre::this_task::stop_requested());
            CHECK_FALSE(gyre::this_task::canceled());
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("an idle wait that begins after a stop was asked for ends at once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            std::array<std::byte, 8> buffer;
            tasks.request_stop();
            const auto received = co_await gyre::idle(pair.server.recv(buffer));
            CHECK(received.error() == gyre::errc::stopped);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("data that has arrived is the outcome of an idle wait in spite of a stop") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            std::array<std::byte, 8> buffer;
            // The send reaches the waiting recv within one turn of the loop: when the sender goes
            // on, the receiver's completion is there, and its task has not run yet.
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                const auto sent = co_await gyre::send_all(pair.client, test::bytes_of("data"));
                CHECK(sent);
                tasks.request_stop();
            });
            const auto received = co_await gyre::idle(pair.server.recv(buffer));
            REQUIRE(received.has_value());
            CHECK(test::text_of(std::span(buffer).first(*received)) == "data");
            CHECK(gyre::this_task::stop_requested());
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a cancel ends an idle wait with ECANCELED") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                tasks.cancel();
            });
            const auto in_flight = co_await gyre::idle(gyre::sleep_for(1h));
            CHECK(in_flight.error() == gyre::errno_code(ECANCELED));

            const auto refused = co_await gyre::idle(gyre::sleep_for(1h));
            CHECK(refused.error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("an idle wait around a task cancels what that task awaits") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                tasks.request_stop();
                tasks.cancel(); // Nothing is left to end.
            });
            const auto napped = co_await gyre::idle(one_nap());
            CHECK(napped.error() == gyre::errc::stopped);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("an idle wait that ends by itself yields its outcome") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto slept = co_await gyre::idle(gyre::sleep_for(1ms));
        CHECK(slept);
    });
}

TEST_CASE("a limit around an idle wait, and an idle wait around a limit, keep their errors apart") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto outer = co_await gyre::with_timeout(gyre::idle(gyre::sleep_for(1h)), 1ms);
        CHECK(outer.error() == gyre::errc::timed_out);
        const auto inner = co_await gyre::idle(gyre::with_timeout(gyre::sleep_for(1h), 1ms));
        CHECK(inner.error() == gyre::errc::timed_out);

        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.request_stop();
            const auto limited = co_await gyre::with_timeout(gyre::idle(gyre::sleep_for(1h)), 1h);
            CHECK(limited.error() == gyre::errc::stopped);
            const auto idling = co_await gyre::idle(gyre::with_timeout(gyre::sleep_for(1h), 1h));
            CHECK(idling.error() == gyre::errc::stopped);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("no cancel reaches what is shielded") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        bool shielded_task_ended = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                tasks.cancel();
            });
            const auto slept = co_await gyre::shielded(gyre::sleep_for(2ms)); // In flight.
            CHECK(slept);
            CHECK(gyre::this_task::canceled());

            const auto sent =
                co_await gyre::shielded(gyre::send_all(pair.client, test::bytes_of("bye")));
            CHECK(sent);

            auto last_words = [&]() -> gyre::task<> {
                CHECK_FALSE(gyre::this_task::stop_requested());
                const auto napped = co_await gyre::sleep_for(1ms);
                CHECK(napped);
                shielded_task_ended = true;
            };
            co_await gyre::shielded(last_words());

            const auto refused = co_await gyre::sleep_for(1h);
            CHECK(refused.error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
        CHECK(shielded_task_ended);
    });
}

TEST_CASE("a limit of its own ends what is shielded") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.cancel();
            const auto slept =
                co_await gyre::shielded(gyre::with_timeout(gyre::sleep_for(1h), 1ms));
            CHECK(slept.error() == gyre::errc::timed_out);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("operations that begin in a canceled scope are refused with ECANCELED") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            std::array<std::byte, 8> buffer;
            tasks.cancel();
            const auto received = co_await pair.server.recv(buffer);
            CHECK(received.error() == gyre::errno_code(ECANCELED));
            const auto sent = co_await pair.server.send(test::bytes_of("x"));
            CHECK(sent.error() == gyre::errno_code(ECANCELED));
            const auto exact = co_await gyre::recv_exactly(pair.server, buffer);
            CHECK(exact.error() == gyre::errno_code(ECANCELED));
            CHECK(exact.bytes() == 0);
            const auto slept = co_await gyre::sleep_for(0ms);
            CHECK(slept.error() == gyre::errno_code(ECANCELED));
            const auto both = co_await gyre::when_any(gyre::sleep_for(1h), gyre::sleep_for(1h));
            CHECK(std::get<0>(both.outcomes).error() == gyre::errno_code(ECANCELED));
            CHECK(std::get<1>(both.outcomes).error() == gyre::errno_code(ECANCELED));
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("a loop that ignores ECANCELED lets other tasks run and is named in the log") {
    test::on_every_engine([]() -> gyre::task<> {
        const captured_log log;
        bool give_up = false;
        unsigned line = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                while (!give_up) {
                    line = __LINE__ + 1;
                    const auto slept = co_await gyre::sleep_for(1h);
                    static_cast<void>(slept);
                }
            });
            co_await gyre::yield();
            tasks.cancel();
            // Its turns come although the loop never waits.
            for (int turn = 0; turn < 1'500; ++turn) {
                co_await gyre::yield();
            }
            give_up = true;
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(captured_log::count({"stop_test.cpp:" + std::to_string(line)}) == 1);
    });
}

TEST_CASE("a loop that ignores ECANCELED through a helper is named in the log as well") {
    test::on_every_engine([]() -> gyre::task<> {
        const captured_log log;
        bool give_up = false;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                while (!give_up) {
                    const auto napped = co_await one_nap();
                    static_cast<void>(napped);
                }
            });
            co_await gyre::yield();
            tasks.cancel();
            for (int turn = 0; turn < 1'500; ++turn) {
                co_await gyre::yield();
            }
            give_up = true;
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(captured_log::count({"canceled", "stop_test.cpp:"}) == 1);
    });
}

TEST_CASE("a scope canceled by its thousandth failing child names nobody") {
    test::on_every_engine([]() -> gyre::task<> {
        const captured_log log;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            for (int i = 0; i < 2'000; ++i) {
                tasks.spawn([]() -> gyre::task<> {
                    const auto slept = co_await gyre::sleep_for(1h);
                    CHECK_FALSE(slept);
                });
            }
            tasks.cancel();
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(captured_log::count({"canceled"}) == 0);
    });
}

TEST_CASE("this_task can be asked by destructors of a task that ends by or_return") {
    test::on_every_engine([]() -> gyre::task<> {
        struct asking {
            explicit asking(bool& where) noexcept : answer(where) {}
            asking(const asking&) = delete;
            asking& operator=(const asking&) = delete;
            ~asking() { answer = gyre::this_task::stop_requested(); }
            bool& answer;
        };
        bool answer = false;
        auto leaving = [&]() -> gyre::task<gyre::result<void>> {
            const asking at_end(answer);
            co_await gyre::or_return(gyre::sleep_for(1h));
            co_return gyre::result<void>();
        };
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.cancel();
            const auto left = co_await leaving();
            CHECK_FALSE(left);
        };
        co_await gyre::with_scope(body);
        CHECK(answer);
    });
}

TEST_SUITE_END();
