#include <gyre/io/serve.hpp>

#include "support/test.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>

#include <sys/resource.h>
#include <unistd.h>

// A program of its own, since it replaces malloc: every allocation of this process is counted, that
// of operator new included, which calls malloc.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GYRE_COUNT_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define GYRE_COUNT_ALLOCATIONS 0
#endif
#endif
#if !defined(GYRE_COUNT_ALLOCATIONS) && !defined(__GLIBC__)
#define GYRE_COUNT_ALLOCATIONS 0
#endif
#ifndef GYRE_COUNT_ALLOCATIONS
#define GYRE_COUNT_ALLOCATIONS 1
#endif

namespace {
std::uint64_t allocations = 0;
} // namespace

#if GYRE_COUNT_ALLOCATIONS

// The names under which glibc keeps its own.
extern "C" {
void* __libc_malloc(std::size_t size);                          // NOLINT
void* __libc_calloc(std::size_t count, std::size_t size);       // NOLINT
void* __libc_realloc(void* memory, std::size_t size);           // NOLINT
void* __libc_memalign(std::size_t alignment, std::size_t size); // NOLINT

void* malloc(std::size_t size) {
    ++allocations;
    return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
    ++allocations;
    return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
    ++allocations;
    return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    ++allocations;
    return __libc_memalign(alignment, size);
}
}

#endif

namespace {

constexpr std::size_t sessions = 1000;

gyre::task<> echo(gyre::stream peer) {
    std::array<std::byte, 4096> buffer;
    for (;;) {
        const auto received =
            co_await gyre::idle(gyre::with_timeout(peer.recv(buffer), std::chrono::seconds(30)));
        if (!received || *received == 0) {
            co_return;
        }
        const auto sent = co_await gyre::send_all(peer, std::span(buffer).first(*received));
        if (!sent) {
            co_return;
        }
    }
}

struct round_state {
    std::size_t connected = 0;
    std::size_t right = 0;
};

// Connects, waits until all others have, and talks three times.
gyre::task<> converse(const gyre::endpoint& at, round_state& state) {
    auto peer = co_await gyre::stream::connect(at);
    ++state.connected;
    if (!peer) {
        co_return;
    }
    while (state.connected < sessions) {
        co_await gyre::yield();
    }
    for (int round = 0; round < 3; ++round) {
        std::array<std::byte, 64> out{};
        out[0] = static_cast<std::byte>(round + 1);
        const auto sent = co_await gyre::send_all(*peer, out);
        std::array<std::byte, 64> back{};
        const auto received = co_await gyre::recv_exactly(*peer, back);
        if (!sent || !received || back != out) {
            co_return;
        }
    }
    ++state.right;
}

} // namespace

TEST_SUITE_BEGIN("io/serve");

TEST_CASE("in steady state serve allocates nothing, with 1,000 sessions coming and going") {
#if !GYRE_COUNT_ALLOCATIONS
    static_cast<void>(sessions);
    static_cast<void>(allocations);
    static_cast<void>(&converse);
    static_cast<void>(&echo);
    test::skip("a sanitizer owns malloc, and frames are not recycled under it");
#else
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit raised = before;
    raised.rlim_cur = raised.rlim_max;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &raised) == 0);
    if (raised.rlim_max < 2 * sessions + 100) {
        test::skip("the hard limit of descriptors is below 2,100");
        return;
    }
    test::on_every_engine([]() -> gyre::task<> {
        // A Unix name, so that no connection lingers and takes a port.
        const gyre::endpoint at("unix:@gyre-allocation-test-" + std::to_string(::getpid()));
        auto listener = gyre::listener::bind(at);
        gyre::serve_options options;
        options.connections_max = sessions;
        options.session_limit = std::chrono::hours(1);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> { co_await gyre::serve(listener, echo, options); });
            std::size_t right = 0;
            std::uint64_t warm_up = 0;
            std::uint64_t steady = 0;
            for (int round = 0; round < 6; ++round) {
                const std::uint64_t counted = allocations;
                round_state state;
                auto clients = [&](gyre::scope& all) -> gyre::task<> {
                    for (std::size_t index = 0; index < sessions; ++index) {
                        all.spawn(&converse, std::cref(at), std::ref(state));
                    }
                    const auto joined = co_await all.join();
                    static_cast<void>(joined);
                };
                co_await gyre::with_scope(clients);
                right += state.right;
                (round < 3 ? warm_up : steady) += allocations - counted;
            }
            scope.request_stop();
            CHECK(right == 6 * sessions);
            CHECK(warm_up > 0U);
            CHECK(steady == 0U);
        };
        co_await gyre::with_scope(body);
    });
    ::setrlimit(RLIMIT_NOFILE, &before);
#endif
}

TEST_SUITE_END();
