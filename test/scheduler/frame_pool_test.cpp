#include <gyre/detail/frame_pool.hpp>

#include "support/frames.hpp"
#include "support/test.hpp"

#include <cstring>
#include <thread>
#include <utility>
#include <vector>

using gyre::detail::frame_pool;

TEST_SUITE_BEGIN("scheduler/frame_pool");

TEST_CASE("a freed block is the next one of its size") {
    if (!test::recycles_frames) {
        test::skip("the pool is off under AddressSanitizer");
        return;
    }
    frame_pool::drain();
    for (const std::size_t size : {1U, 64U, 65U, 700U, 2048U, 2049U, 16384U}) {
        INFO("size: ", size);
        void* block = frame_pool::allocate(size);
        frame_pool::deallocate(block, size);
        CHECK(frame_pool::kept() >= size);

        void* again = frame_pool::allocate(size);

        CHECK(again == block);
        CHECK(frame_pool::kept() == 0);
        frame_pool::deallocate(again, size);
        frame_pool::drain();
    }
    CHECK(frame_pool::kept() == 0);
}

TEST_CASE("blocks of every size hold that many bytes, recycled or not") {
    for (int round = 0; round < 2; ++round) {
        std::vector<std::pair<void*, std::size_t>> blocks;
        for (std::size_t size = 1; size < 20'000; size += 61) {
            blocks.emplace_back(frame_pool::allocate(size), size);
            std::memset(blocks.back().first, 0x5a, size);
        }
        for (const auto& [block, size] : blocks) {
            CHECK(static_cast<unsigned char*>(block)[size - 1] == 0x5a);
            frame_pool::deallocate(block, size);
        }
    }
    frame_pool::drain();
}

TEST_CASE("the pool keeps nothing above 16 KiB a block, nor above 32 MiB in all") {
    if (!test::recycles_frames) {
        test::skip("the pool is off under AddressSanitizer");
        return;
    }
    frame_pool::drain();
    frame_pool::deallocate(frame_pool::allocate(16385), 16385);
    CHECK(frame_pool::kept() == 0);

    std::vector<void*> blocks;
    for (int count = 0; count < 3000; ++count) {
        blocks.push_back(frame_pool::allocate(16384));
    }
    for (void* block : blocks) {
        frame_pool::deallocate(block, 16384);
    }

    CHECK(frame_pool::kept() > 16384U * 2000);
    CHECK(frame_pool::kept() <= std::size_t{32} << 20);
    frame_pool::drain();
    CHECK(frame_pool::kept() == 0);
}

TEST_CASE("a block may be freed on another thread, which then keeps it") {
    if (!test::recycles_frames) {
        test::skip("the pool is off under AddressSanitizer");
        return;
    }
    frame_pool::drain();
    void* block = frame_pool::allocate(100);

    std::thread([block] {
        frame_pool::deallocate(block, 100);
        CHECK(frame_pool::kept() == 128);
        frame_pool::drain();
    }).join();

    CHECK(frame_pool::kept() == 0);
}

TEST_CASE("tasks take their frames from the pool, and a scheduler that ends leaves it empty") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto child = []() -> gyre::task<> { co_await gyre::yield(); };
        co_await child();
        const std::size_t kept = frame_pool::kept();
        for (int count = 0; count < 100; ++count) {
            co_await child();
        }
        CHECK(frame_pool::kept() == kept);
        CHECK((kept > 0 || !test::recycles_frames));
    });
    CHECK(frame_pool::kept() == 0);
}

TEST_SUITE_END();
