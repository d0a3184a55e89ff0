// When the blocking engine makes a call that blocks, and how it gets out of it.

#include <gyre/ring/engine.hpp>

#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace std::chrono_literals;
using test::never;

namespace {

void do_nothing(int) {}

// The system call that a thread of this process is in, or -1.
long call_of(pid_t thread) {
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/syscall");
    long number = -1;
    file >> number;
    return file ? number : -1;
}

bool comes_into(pid_t thread, long call) {
    const auto give_up = std::chrono::steady_clock::now() + 10s;
    while (call_of(thread) != call) {
        if (std::chrono::steady_clock::now() > give_up) {
            return false;
        }
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

pid_t this_thread() {
    return static_cast<pid_t>(::syscall(SYS_gettid));
}

} // namespace

TEST_SUITE_BEGIN("ring/blocking");

TEST_CASE("a receive on its own blocks in recvfrom, and in ppoll while another may wake it") {
    for (const std::uint32_t holders : {1U, 2U}) {
        test::raw_engine engine(gyre::engine_kind::blocking);
        const std::atomic<std::uint32_t> wakers{holders};
        engine->wakers = &wakers;
        auto pair = test::socket_pair();
        bool right = false;
        std::thread peer([&, thread = this_thread()] {
            right = comes_into(thread, holders == 1 ? SYS_recvfrom : SYS_ppoll);
            CHECK(::send(pair.second, "abc", 3, 0) == 3);
        });
        std::array<std::byte, 8> buffer;
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        engine->enter(1, never);
        const auto told = engine.next();
        peer.join();
        CHECK(right);
        CHECK(told->result == 3);
    }
}

TEST_CASE("a task whose receive is all there is sits in recvfrom, unless somebody has a handle") {
    for (const bool held : {false, true}) {
        INFO("a handle is held: ", held);
        gyre::run({.engine = gyre::engine_kind::blocking}, [held]() -> gyre::task<> {
            auto pair = gyre::stream::pair();
            std::optional<gyre::scheduler_handle> handle;
            if (held) {
                handle.emplace(gyre::scheduler::current().handle());
            }
            bool right = false;
            std::thread peer([&, thread = this_thread(), fd = pair.second.native_handle()] {
                right = comes_into(thread, held ? SYS_ppoll : SYS_recvfrom);
                CHECK(::send(fd, "abc", 3, 0) == 3);
            });
            std::array<std::byte, 8> buffer;
            const auto received = co_await pair.first.recv(buffer);
            peer.join();
            CHECK(right);
            CHECK(received.value() == 3);
        });
    }
}

TEST_CASE("two operations, and one with a deadline, wait in ppoll") {
    for (const bool two : {false, true}) {
        test::raw_engine engine(gyre::engine_kind::blocking);
        const std::atomic<std::uint32_t> wakers{1};
        engine->wakers = &wakers;
        auto pair = test::socket_pair();
        auto other = test::socket_pair();
        bool right = false;
        std::thread peer([&, thread = this_thread()] {
            right = comes_into(thread, SYS_ppoll);
            CHECK(::send(pair.second, "abc", 3, 0) == 3);
        });
        std::array<std::byte, 8> buffer;
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        if (two) {
            engine.queue(test::recv_entry(other.first, buffer), 2);
        }
        engine->enter(1, two ? never : engine->now() + 20'000'000'000);
        peer.join();
        CHECK(right);
        CHECK(engine.one().result == 3);
    }
}

TEST_CASE("a wake that came before its sender let go of the engine is not slept over") {
    test::raw_engine engine(gyre::engine_kind::blocking);
    std::atomic<std::uint32_t> wakers{2};
    engine->wakers = &wakers;
    auto pair = test::socket_pair();
    std::array<std::byte, 8> buffer;
    engine->wake();
    wakers = 1;
    engine.queue(test::recv_entry(pair.first, buffer), 1);

    engine->enter(1, never);

    CHECK(engine.one().user_data == gyre::detail::engine::wake_user_data);
}

TEST_CASE("a signal of the program's own interrupts a blocking call, which then goes on") {
    struct sigaction quiet = {};
    quiet.sa_handler = &do_nothing;
    struct sigaction before;
    REQUIRE(::sigaction(SIGUSR1, &quiet, &before) == 0);
    test::raw_engine engine(gyre::engine_kind::blocking);
    const std::atomic<std::uint32_t> wakers{1};
    engine->wakers = &wakers;
    auto pair = test::socket_pair();
    std::thread peer([&, thread = this_thread(), target = ::pthread_self()] {
        CHECK(comes_into(thread, SYS_recvfrom));
        CHECK(::send(pair.second, "abc", 3, 0) == 3);
        CHECK(comes_into(thread, SYS_recvfrom));
        ::pthread_kill(target, SIGUSR1);
        std::this_thread::sleep_for(5ms);
        CHECK(::send(pair.second, "defgh", 5, 0) == 5);
    });
    std::array<std::byte, 8> buffer;
    engine.queue(test::recv_entry(pair.first, buffer, MSG_WAITALL), 1);
    while (engine->completions.waiting() == 0) {
        const int answer = engine->enter(1, never);
        CHECK((answer >= 0 || answer == -EINTR));
    }
    peer.join();
    CHECK(engine.one().result == 8);
    CHECK(test::text_of(buffer) == "abcdefgh");
    ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("an O_NONBLOCK descriptor on its own is waited for all the same") {
    test::raw_engine engine(gyre::engine_kind::blocking);
    const std::atomic<std::uint32_t> wakers{1};
    engine->wakers = &wakers;
    auto pair = test::socket_pair();
    REQUIRE(::fcntl(pair.first, F_SETFL, O_NONBLOCK) == 0);
    bool right = false;
    std::thread peer([&, thread = this_thread()] {
        right = comes_into(thread, SYS_ppoll);
        CHECK(::send(pair.second, "abc", 3, 0) == 3);
    });
    std::array<std::byte, 8> buffer;
    engine.queue(test::recv_entry(pair.first, buffer), 1);
    engine->enter(1, never);
    peer.join();
    CHECK(right);
    CHECK(engine.one().result == 3);
}

TEST_CASE("a send on its own takes what there is room for and does not wait for the rest") {
    test::raw_engine engine(gyre::engine_kind::blocking);
    const std::atomic<std::uint32_t> wakers{1};
    engine->wakers = &wakers;
    auto pair = test::socket_pair();
    const std::vector<std::byte> much(1 << 22);
    engine.queue(test::send_entry(pair.first, much), 1);

    engine->enter(1, never);

    const auto told = engine.next();
    CHECK(told->result > 0);
    CHECK(static_cast<std::size_t>(told->result) < much.size());
}

TEST_SUITE_END();
