#include "samples/unix_pass_fd_session.hpp"

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

namespace {

gyre::owned_descriptor file_of(std::string_view text) {
    gyre::owned_descriptor made(::memfd_create("passed", MFD_CLOEXEC));
    REQUIRE(
        ::pwrite(made.native_handle(), text.data(), text.size(), 0) ==
        static_cast<ssize_t>(text.size())
    );
    return made;
}

// What the receiver makes of it if a sender sends `text` with `descriptors` beside it and closes.
gyre::task<std::error_code> answer_to(std::string_view text, std::span<const int> descriptors) {
    auto pair = gyre::stream::pair();
    gyre::control_message<> beside;
    CHECK(beside.add_descriptors(descriptors));
    const auto sent = co_await pair.first.sendmsg(test::bytes_of(text), beside);
    CHECK(sent);
    const auto closed = co_await pair.first.close();
    CHECK(closed);
    const auto report = [](const samples::passed_file&) {};
    const auto ended = co_await samples::receive_files(std::move(pair.second), report);
    co_return ended.error();
}

} // namespace

TEST_SUITE_BEGIN("samples/unix_pass_fd");

TEST_CASE("files come over with their names, sizes and sender, until the sender's end") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = test::open_descriptors();
        auto pair = gyre::stream::pair();
        std::vector<samples::passed_file> came;
        const auto report = [&](samples::passed_file file) { came.push_back(std::move(file)); };
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto ended = co_await samples::receive_files(std::move(pair.second), report);
                CHECK(ended);
            });
            for (const char* text : {"hello", ""}) {
                const auto file = file_of(text);
                const auto sent =
                    co_await samples::send_file(pair.first, "of \x1b" + std::string(text), file);
                CHECK(sent);
            }
            const auto file = file_of("");
            const auto too_long =
                co_await samples::send_file(pair.first, std::string(5000, 'x'), file);
            CHECK(too_long.error() == gyre::errno_code(ENAMETOOLONG));
            const auto closed = co_await pair.first.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        REQUIRE(came.size() == 2);
        CHECK(came[0].name == "of ?hello");
        CHECK(came[0].size == 5U);
        CHECK(came[0].user_id == ::getuid());
        CHECK(came[1].name == "of ?");
        CHECK(came[1].size == 0U);
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("what is not the protocol ends the session with EPROTO, and no descriptor stays") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = test::open_descriptors();
        {
            const auto file = file_of("text");
            const std::array<int, 2> numbers = {file.native_handle(), file.native_handle()};
            const std::string_view name("name\0", 5);
            const auto protocol = gyre::errno_code(EPROTO);
            const auto none = co_await answer_to(name, {});
            CHECK(none == protocol);
            const auto two = co_await answer_to(name, numbers);
            CHECK(two == protocol);
            const auto cut = co_await answer_to("name", std::span(numbers).first(1));
            CHECK(cut == protocol);
            const auto long_name =
                co_await answer_to(std::string(5000, 'x'), std::span(numbers).first(1));
            CHECK(long_name == protocol);
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_SUITE_END();
