#include <gyre/op/msg_ring.hpp>

#include <gyre/ring/uapi.hpp>

#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <liburing.h>

TEST_SUITE_BEGIN("op/msg_ring");

TEST_CASE("msg_ring puts a completion into a ring of the program's own") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::op::ring_message message = {.user_data = 0x0123456789abcdef, .result = 42};
        const test::raw_fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        const auto& report = gyre::scheduler::current().report();
        if (!report.opcodes[gyre::detail::uapi::op_msg_ring]) {
            const auto missing = co_await gyre::op::msg_ring(nothing, message);
            CHECK(missing.error() == std::errc::function_not_supported);
            co_return;
        }
        io_uring ring;
        REQUIRE(io_uring_queue_init(4, &ring, 0) == 0);
        const auto told = co_await gyre::op::msg_ring(ring.ring_fd, message);
        CHECK(told);
        io_uring_cqe* seen = nullptr;
        REQUIRE(io_uring_peek_cqe(&ring, &seen) == 0);
        CHECK(seen->user_data == 0x0123456789abcdef);
        CHECK(seen->res == 42);
        io_uring_queue_exit(&ring);
        const auto wrong = co_await gyre::op::msg_ring(nothing, message);
        CHECK(wrong.error() == gyre::errno_code(EBADFD));
        CHECK(gyre::scheduler::current().counters().stray_completions == 0);
    });
}

TEST_SUITE_END();
