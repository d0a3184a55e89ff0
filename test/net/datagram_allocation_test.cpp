#include <gyre/net/datagram.hpp>

#include <gyre/net/batch.hpp>

#include "support/test.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

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

TEST_SUITE_BEGIN("net/datagram");

TEST_CASE("in steady state receives and sends of messages allocate nothing") {
#if !GYRE_COUNT_ALLOCATIONS
    static_cast<void>(allocations);
    test::skip("a sanitizer owns malloc");
#else
    for (const char* kind : {"127.0.0.1:0", "unix:"}) {
        test::on_every_engine([&]() -> gyre::task<> {
            auto receiver = gyre::datagram::bind(kind);
            auto sender = gyre::datagram::bind(kind);
            const gyre::endpoint at = receiver.local_endpoint().value();
            std::array<std::byte, 512> buffer{};
            std::array<gyre::incoming_message, 4> room;
            for (std::size_t index = 0; index < room.size(); ++index) {
                room[index].buffer = std::span(buffer).subspan(index * 100, 100);
            }
            gyre::outgoing_message one;
            one.bytes = test::bytes_of("one");
            one.to = &at;
            const std::array<gyre::outgoing_message, 4> several{one, one, one, one};
            gyre::control_buffer<> control;
            const gyre::control_message<> nothing;
            gyre::endpoint from;
            std::uint64_t before = 0;
            for (int round = 0; round < 200; ++round) {
                if (round == 100) {
                    before = allocations;
                }
                const auto sent = co_await sender.sendto(test::bytes_of("hello"), at);
                const auto received = co_await receiver.recvfrom(buffer, from);
                const auto with = co_await sender.sendmsg(test::bytes_of("x"), at, nothing);
                const auto beside = co_await receiver.recvmsg(buffer, from, control);
                const auto out = co_await sender.send_batch(several);
                std::size_t in = 0;
                while (in < 4) {
                    const auto some = co_await receiver.recv_batch(std::span(room).subspan(in));
                    in += some.count();
                }
                if (!sent || !received || !with || !beside || !out) {
                    break;
                }
            }
            CHECK(before != 0U);
            CHECK(allocations == before);
        });
    }
#endif
}

TEST_SUITE_END();
