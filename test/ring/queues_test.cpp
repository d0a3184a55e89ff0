#include <gyre/ring/queues.hpp>

#include "support/test.hpp"

#include <array>
#include <cstdint>

using gyre::detail::completion;
using gyre::detail::completion_queue;
using gyre::detail::submission;
using gyre::detail::submission_queue;

namespace {

// Both indices start just below the end of their range, so that every test also wraps them.
struct submissions_in_memory {
    std::array<submission, 4> entries{};
    std::uint32_t head = ~std::uint32_t{0} - 1;
    std::uint32_t tail = head;
    submission_queue queue{entries.data(), 4, &head, &tail};
};

struct completions_in_memory {
    std::array<completion, 4> entries{};
    std::uint32_t head = ~std::uint32_t{0} - 1;
    std::uint32_t tail = head;
    completion_queue queue{entries.data(), 4, &head, &tail};

    void produce(std::uint64_t user_data) {
        entries[tail % 4].user_data = user_data;
        ++tail;
    }
};

} // namespace

TEST_SUITE_BEGIN("ring/queues");

TEST_CASE("a submission queue gives out as many entries as it has, then none") {
    submissions_in_memory memory;

    for (int count = 0; count < 4; ++count) {
        CHECK(memory.queue.acquire() != nullptr);
    }

    CHECK(memory.queue.acquire() == nullptr);
    CHECK(memory.queue.queued() == 4);
    CHECK(memory.queue.size() == 4);
}

TEST_CASE("an acquired submission is zeroed although its place was used before") {
    submissions_in_memory memory;
    for (submission& entry : memory.entries) {
        entry.ioprio = 7;
        entry.address = 7;
        entry.file_index = 7;
        entry.reserved = 7;
    }

    const submission* entry = memory.queue.acquire();

    REQUIRE(entry != nullptr);
    CHECK(entry->ioprio == 0);
    CHECK(entry->address == 0);
    CHECK(entry->file_index == 0);
    CHECK(entry->reserved == 0);
}

TEST_CASE("acquired submissions are invisible to the consumer until they are published") {
    submissions_in_memory memory;
    const std::uint32_t start = memory.tail;

    static_cast<void>(memory.queue.acquire());
    static_cast<void>(memory.queue.acquire());
    CHECK(memory.tail == start);
    memory.queue.publish();

    CHECK(memory.tail == start + 2);
}

TEST_CASE("a full submission queue has room again once the consumer's progress was read") {
    submissions_in_memory memory;
    for (int count = 0; count < 4; ++count) {
        static_cast<void>(memory.queue.acquire());
    }
    memory.queue.publish();

    memory.head += 3;
    CHECK(memory.queue.acquire() == nullptr);
    memory.queue.refresh();

    CHECK(memory.queue.queued() == 1);
    for (int count = 0; count < 3; ++count) {
        CHECK(memory.queue.acquire() != nullptr);
    }
    CHECK(memory.queue.acquire() == nullptr);
}

TEST_CASE("submissions come out in the order they went in, over many turns of the ring") {
    submissions_in_memory memory;
    std::uint64_t written = 0;
    std::uint64_t read = 0;

    for (int turn = 0; turn < 1000; ++turn) {
        for (int count = 0; count <= turn % 4; ++count) {
            submission* entry = memory.queue.acquire();
            REQUIRE(entry != nullptr);
            entry->user_data = ++written;
        }
        memory.queue.publish();
        REQUIRE(memory.queue.at(memory.queue.queued() - 1).user_data == written);
        while (memory.queue.queued() != 0) {
            REQUIRE(memory.queue.at(0).user_data == ++read);
            memory.queue.consume();
        }
        REQUIRE(memory.head == memory.tail);
    }

    CHECK(read == written);
}

TEST_CASE("a completion queue shows what was produced, oldest first, until it is given back") {
    completions_in_memory memory;
    CHECK(memory.queue.waiting() == 0);
    for (std::uint64_t name = 1; name <= 4; ++name) {
        memory.produce(name);
    }

    CHECK(memory.queue.waiting() == 4);
    for (std::uint32_t position = 0; position < 4; ++position) {
        CHECK(memory.queue.at(position).user_data == position + 1);
    }
    memory.queue.advance(3);

    CHECK(memory.queue.waiting() == 1);
    CHECK(memory.queue.at(0).user_data == 4);
    CHECK(memory.tail - memory.head == 1);
    memory.queue.advance(1);
    CHECK(memory.queue.waiting() == 0);
}

TEST_CASE("completions come out in order over many turns of the ring") {
    completions_in_memory memory;
    std::uint64_t produced = 0;
    std::uint64_t taken = 0;

    for (int turn = 0; turn < 1000; ++turn) {
        for (int count = 0; count <= turn % 4; ++count) {
            memory.produce(++produced);
        }
        const std::uint32_t waiting = memory.queue.waiting();
        for (std::uint32_t position = 0; position < waiting; ++position) {
            REQUIRE(memory.queue.at(position).user_data == ++taken);
        }
        memory.queue.advance(waiting);
    }

    CHECK(taken == produced);
}

TEST_SUITE_END();
