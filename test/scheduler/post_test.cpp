#include <gyre/scheduler/scheduler.hpp>

#include <gyre/ring/features.hpp>

#include "support/test.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

// A wait that a posted function ends: it runs between tasks, on this thread.
class gate {
public:
    gate() : pair_(gyre::stream::pair()) {}
    gyre::task<> wait() {
        std::array<std::byte, 1> buffer;
        const auto received = co_await pair_.first.recv(buffer);
        CHECK(received);
    }
    void open() {
        const auto closed = pair_.second.shutdown(gyre::shutdown_side::send);
        CHECK(closed);
    }

private:
    gyre::stream_pair pair_;
};

// Runs `body` with each way in which another thread can wake a loop.
template <class Body>
void with_each_wake(Body&& body) {
    gyre::scheduler_options options;
    test::on_every_engine(options, body);
    options.disable.insert(gyre::feature::message_wake);
    INFO("without message_wake");
    test::on_every_engine(options, body);
    options.disable = gyre::feature_set::all();
    INFO("without any feature");
    test::on_every_engine(options, body);
}

} // namespace

TEST_SUITE_BEGIN("scheduler/post");

TEST_CASE("posted functions run on the scheduler's thread, in the order of posting") {
    test::on_every_engine([]() -> gyre::task<> {
        std::vector<int> order;
        gate all_ran;
        const auto handle = gyre::scheduler::current().handle();
        const auto home = std::this_thread::get_id();

        std::thread poster([&] {
            for (int name = 0; name < 100; ++name) {
                const auto posted = handle.post([&order, home, name] {
                    CHECK(std::this_thread::get_id() == home);
                    order.push_back(name);
                });
                CHECK(posted);
            }
            const auto posted = handle.post([&] { all_ran.open(); });
            CHECK(posted);
        });
        co_await all_ran.wait();
        poster.join();

        REQUIRE(order.size() == 100);
        for (int name = 0; name < 100; ++name) {
            CHECK(order[static_cast<std::size_t>(name)] == name);
        }
    });
}

TEST_CASE("a posted function wakes a loop that sleeps") {
    with_each_wake([]() -> gyre::task<> {
        const auto handle = gyre::scheduler::current().handle();
        for (int round = 0; round < 20; ++round) {
            gate opened;
            std::thread poster([&] {
                std::this_thread::sleep_for(1ms);
                const auto posted = handle.post([&] { opened.open(); });
                CHECK(posted);
            });
            co_await opened.wait();
            poster.join();
        }
        CHECK(gyre::scheduler::current().counters().posts == 20);
    });
}

TEST_CASE("four threads post 50,000 functions each: all run, each thread's in order") {
    with_each_wake([]() -> gyre::task<> {
        constexpr int posters = 4;
        constexpr std::uint64_t posts = 50'000;
        std::array<std::uint64_t, posters> ran{};
        std::uint64_t out_of_order = 0;
        int ended = 0;
        gate all_ended;
        const auto handle = gyre::scheduler::current().handle();

        std::vector<std::thread> threads;
        for (int name = 0; name < posters; ++name) {
            threads.emplace_back([&, name] {
                std::uint64_t& mine = ran[static_cast<std::size_t>(name)];
                for (std::uint64_t number = 0; number < posts; ++number) {
                    const auto posted = handle.post([&mine, &out_of_order, number] {
                        out_of_order += mine == number ? 0 : 1;
                        ++mine;
                    });
                    if (!posted) {
                        FAIL_CHECK("a post to a running scheduler was refused");
                    }
                    // Now and then the loop falls asleep, so that it has to be woken again.
                    if (number % 10'000 == 0) {
                        std::this_thread::sleep_for(500us);
                    }
                }
                const auto posted = handle.post([&] {
                    if (++ended == posters) {
                        all_ended.open();
                    }
                });
                CHECK(posted);
            });
        }
        co_await all_ended.wait();
        for (std::thread& each : threads) {
            each.join();
        }

        for (const std::uint64_t count : ran) {
            CHECK(count == posts);
        }
        CHECK(out_of_order == 0);
        const auto counters = gyre::scheduler::current().counters();
        CHECK(counters.posts == posters * (posts + 1));
        CHECK(counters.wakes <= counters.posts);
    });
}

TEST_CASE("a posted function may post again, and that one runs too") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto handle = gyre::scheduler::current().handle();
        gate opened;
        int runs = 0;
        std::function<void()> again = [&] {
            if (++runs == 100) {
                opened.open();
            } else {
                const auto posted = handle.post(again);
                CHECK(posted);
            }
        };
        const auto posted = handle.post(again);
        CHECK(posted);
        co_await opened.wait();
        CHECK(runs == 100);
    });
}

TEST_CASE("a posted function may spawn a task") {
    test::on_every_engine([]() -> gyre::task<> {
        gate opened;
        const auto posted = gyre::scheduler::current().handle().post([&] {
            gyre::spawn([&opened]() -> gyre::task<> {
                co_await gyre::yield();
                opened.open();
            });
        });
        CHECK(posted);
        co_await opened.wait();
    });
}

TEST_CASE("a post to a scheduler that has ended yields errc::closed and destroys the function") {
    std::optional<gyre::scheduler_handle> handle;
    {
        const gyre::scheduler made;
        handle.emplace(made.handle());
    }
    auto token = std::make_shared<int>(0);
    bool ran = false;

    const auto posted = handle->post([token, &ran] { ran = true; });
    const auto copy = *handle;
    const auto again = copy.post([] {});

    CHECK(posted.error() == gyre::errc::closed);
    CHECK(again.error() == gyre::errc::closed);
    CHECK(!ran);
    CHECK(token.use_count() == 1);
}

TEST_CASE("a function that was posted and not run is destroyed unrun with its scheduler") {
    auto token = std::make_shared<int>(0);
    bool ran = false;
    {
        const gyre::scheduler made;
        const auto posted = made.handle().post([token, &ran] { ran = true; });
        CHECK(posted);
        CHECK(token.use_count() == 2);
    }

    CHECK(!ran);
    CHECK(token.use_count() == 1);
}

TEST_CASE("posters that race with the end of a scheduler are run, destroyed or refused") {
    for (int round = 0; round < 50; ++round) {
        std::atomic<int> alive{0};
        struct counted {
            explicit counted(std::atomic<int>& of) : count(&of) { ++*count; }
            counted(const counted& other) : count(other.count) { ++*count; }
            ~counted() { --*count; }
            std::atomic<int>* count;
        };
        std::optional<gyre::scheduler_handle> handle;
        std::atomic<bool> go{false};
        std::vector<std::thread> threads;
        gyre::scheduler_options options;
        if (round % 2 == 0) {
            options.disable.insert(gyre::feature::message_wake);
        }
        gyre::run(options, [&]() -> gyre::task<> {
            handle.emplace(gyre::scheduler::current().handle());
            for (int name = 0; name < 2; ++name) {
                threads.emplace_back([&go, &alive, mine = *handle] {
                    go = true;
                    while (mine.post([kept = counted(alive)] { static_cast<void>(kept); })) {
                    }
                });
            }
            while (!go) {
                co_await gyre::yield();
            }
            const auto slept = co_await gyre::sleep_for(std::chrono::microseconds(100));
            CHECK(slept);
        });
        for (std::thread& each : threads) {
            each.join();
        }
        CHECK(alive == 0);
    }
}

TEST_SUITE_END();
