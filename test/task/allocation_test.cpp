#include "support/test.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>

// This program counts every allocation: both the operators and malloc are its own. It is built
// without the other tests, which allocate as they like.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GYRE_TEST_COUNTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GYRE_TEST_COUNTS 0
#endif
#endif
#ifndef GYRE_TEST_COUNTS
#define GYRE_TEST_COUNTS 1
#endif

namespace {

constinit std::atomic<std::size_t> allocations{0};

std::size_t allocations_so_far() noexcept {
    return allocations.load(std::memory_order_relaxed);
}

} // namespace

#if GYRE_TEST_COUNTS

// The C library's own functions stay reachable under these names.
// NOLINTBEGIN(bugprone-reserved-identifier, readability-identifier-naming): glibc named them.
extern "C" void* __libc_malloc(std::size_t size) noexcept;
extern "C" void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
extern "C" void* __libc_realloc(void* memory, std::size_t size) noexcept;
extern "C" void* __libc_memalign(std::size_t alignment, std::size_t size) noexcept;
extern "C" void __libc_free(void* memory) noexcept;
// NOLINTEND(bugprone-reserved-identifier, readability-identifier-naming)

extern "C" void* malloc(std::size_t size) noexcept {
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_malloc(size);
}
extern "C" void* calloc(std::size_t count, std::size_t size) noexcept {
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_calloc(count, size);
}
extern "C" void* realloc(void* memory, std::size_t size) noexcept {
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_realloc(memory, size);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_memalign(alignment, size);
}
extern "C" void free(void* memory) noexcept {
    __libc_free(memory);
}

void* operator new(std::size_t size) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    if (void* memory = __libc_malloc(size == 0 ? 1 : size)) {
        return memory;
    }
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    __libc_free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    __libc_free(memory);
}

#endif

TEST_SUITE_BEGIN("task/allocation");

namespace {

using namespace std::chrono_literals;

// Runs `work` once to warm up, then counts the allocations of the second time.
template <class Work>
void allocates_nothing(Work work) {
#if GYRE_TEST_COUNTS
    test::on_every_engine([&]() -> gyre::task<> {
        co_await work();
        const std::size_t before = allocations_so_far();
        co_await work();
        const std::size_t after = allocations_so_far();
        CHECK(after == before);
    });
#else
    static_cast<void>(work);
    static_cast<void>(allocations_so_far());
    test::skip("sanitizers bring their own allocator");
#endif
}

gyre::task<int> one(int value) {
    co_return value;
}

gyre::task<gyre::result<int>> failing() {
    co_await gyre::yield();
    co_return gyre::errc::end_of_stream;
}

} // namespace

TEST_CASE("the counter counts") {
#if GYRE_TEST_COUNTS
    const std::size_t before = allocations_so_far();
    delete new std::string(100, 'x');
    std::free(std::malloc(10)); // NOLINT(cppcoreguidelines-no-malloc)
    CHECK(allocations_so_far() >= before + 2);
#else
    test::skip("sanitizers bring their own allocator");
#endif
}

TEST_CASE("awaiting a task allocates nothing in the steady state") {
    allocates_nothing([]() -> gyre::task<> {
        for (int i = 0; i < 1'000; ++i) {
            const int value = co_await one(i);
            static_cast<void>(value);
            co_await gyre::yield();
        }
    });
}

TEST_CASE("spawning a child and joining it allocates nothing in the steady state") {
    allocates_nothing([]() -> gyre::task<> {
        for (int round = 0; round < 50; ++round) {
            co_await gyre::with_scope([](gyre::scope& tasks) -> gyre::task<> {
                for (int i = 0; i < 100; ++i) {
                    tasks.spawn(
                        [i](int other) -> gyre::task<> {
                            co_await gyre::yield();
                            static_cast<void>(i + other);
                        },
                        i
                    );
                }
                const auto joined = co_await tasks.join();
                static_cast<void>(joined);
            });
        }
    });
}

TEST_CASE("a child that lasts longer than others of its size costs them no allocation") {
    allocates_nothing([]() -> gyre::task<> {
        co_await gyre::with_scope([](gyre::scope& tasks) -> gyre::task<> {
            for (int i = 0; i < 1'000; ++i) {
                tasks.spawn(
                    [](int yields) -> gyre::task<> {
                        for (int left = yields; left > 0; --left) {
                            co_await gyre::yield();
                        }
                    },
                    i % 7
                );
                co_await gyre::yield();
            }
        });
    });
}

TEST_CASE("when_any, when_all, limits, or_return and cancels allocate nothing in the steady state"
) {
    allocates_nothing([]() -> gyre::task<> {
        auto leaving = []() -> gyre::task<gyre::result<int>> {
            const int value = co_await gyre::or_return(failing());
            co_return value;
        };
        for (int i = 0; i < 100; ++i) {
            const auto any = co_await gyre::when_any(one(1), gyre::sleep_for(1h));
            static_cast<void>(any);
            const auto all = co_await gyre::when_all(failing(), gyre::sleep_for(1h));
            static_cast<void>(all);
            const auto limited = co_await gyre::with_timeout(gyre::sleep_for(1h), 1us);
            static_cast<void>(limited);
            const auto left = co_await leaving();
            static_cast<void>(left);
            co_await gyre::with_scope([](gyre::scope& tasks) -> gyre::task<> {
                tasks.spawn([]() -> gyre::task<> {
                    const auto slept = co_await gyre::sleep_for(1h);
                    static_cast<void>(slept);
                });
                tasks.cancel();
                co_return;
            });
        }
    });
}

TEST_CASE("receiving and sending under a limit allocate nothing in the steady state") {
    allocates_nothing([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<std::byte, 64> buffer{};
        for (int i = 0; i < 500; ++i) {
            const auto sent = co_await gyre::send_all(pair.first, buffer);
            static_cast<void>(sent);
            const auto received =
                co_await gyre::with_timeout(gyre::recv_exactly(pair.second, buffer), 1s);
            static_cast<void>(received);
        }
    });
}

TEST_SUITE_END();
