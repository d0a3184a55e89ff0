#include <gyre/error.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <exception>
#include <ios>
#include <ostream> // IWYU pragma: keep (doctest prints error codes through it)
#include <string>
#include <string_view>
#include <system_error>

namespace {

// What the exception says that throw_error throws.
std::string thrown_text(std::error_code code, std::string_view what, std::string_view help = {}) {
    try {
        gyre::throw_error(code, what, help);
    } catch (const std::system_error& error) {
        return error.what();
    }
}

TEST_SUITE_BEGIN("error");

TEST_CASE("an errc converts to an error code of the category gyre") {
    const std::error_code code = gyre::errc::stopped;

    CHECK(code == gyre::errc::stopped);
    CHECK(code != gyre::errc::closed);
    CHECK(code.category() == gyre::gyre_category());
    CHECK(code.value() == 1);
    CHECK(std::string_view(code.category().name()) == "gyre");
}

TEST_CASE("errc::timed_out compares equal to std::errc::timed_out") {
    const std::error_code code = gyre::errc::timed_out;

    CHECK(code == std::errc::timed_out);
    CHECK(code != std::errc::operation_canceled);
}

TEST_CASE("errc::timed_out differs from the ETIMEDOUT of TCP") {
    const std::error_code code = gyre::errc::timed_out;
    const std::error_code of_tcp = gyre::errno_code(ETIMEDOUT);

    CHECK(code != of_tcp);
    CHECK(of_tcp != gyre::errc::timed_out);
    CHECK(of_tcp == std::errc::timed_out);
}

TEST_CASE("no other errc compares equal to a condition of the standard library") {
    for (const auto code : {gyre::errc::stopped, gyre::errc::end_of_stream, gyre::errc::closed}) {
        const auto condition = std::error_code(code).default_error_condition();

        CHECK(condition.category() == gyre::gyre_category());
        CHECK(condition.value() == static_cast<int>(code));
    }
}

TEST_CASE("errno_code makes a code of the system category") {
    const std::error_code code = gyre::errno_code(ECONNRESET);

    CHECK(code.category() == std::system_category());
    CHECK(code == std::errc::connection_reset);
}

TEST_CASE("errno_name yields the symbol of an errno") {
    CHECK(std::string_view(gyre::errno_name(ECONNRESET)) == "ECONNRESET");
    CHECK(std::string_view(gyre::errno_name(EPERM)) == "EPERM");
}

TEST_CASE("errno_name is never null") {
    for (const int number : {0, -1, 4095, 1'000'000}) {
        CHECK(std::string_view(gyre::errno_name(number)) == "unknown errno");
    }
}

TEST_CASE("describe yields the name and the meaning") {
    CHECK(gyre::describe(gyre::errno_code(ECONNRESET)) == "ECONNRESET: Connection reset by peer");
    CHECK(
        gyre::describe(std::make_error_code(std::errc::connection_reset)) ==
        "ECONNRESET: Connection reset by peer"
    );
    CHECK(gyre::describe(gyre::errc::timed_out) == "timed_out: the time limit passed");
    CHECK(gyre::describe({}) == "success");
}

TEST_CASE("describe knows every errc by name") {
    CHECK(gyre::describe(gyre::errc::stopped).starts_with("stopped: "));
    CHECK(gyre::describe(gyre::errc::timed_out).starts_with("timed_out: "));
    CHECK(gyre::describe(gyre::errc::end_of_stream).starts_with("end_of_stream: "));
    CHECK(gyre::describe(gyre::errc::closed).starts_with("closed: "));
}

TEST_CASE("describe gives the number of a code that has no name") {
    CHECK(gyre::describe(gyre::errno_code(4095)).starts_with("errno 4095: "));
    CHECK(gyre::describe({77, std::iostream_category()}).starts_with("iostream 77: "));
}

TEST_CASE("a thrown error says what failed, on what, the name, and what helps") {
    CHECK(
        thrown_text(
            gyre::errno_code(EACCES),
            "listener::bind 127.0.0.1:80",
            "ports below 1024 need CAP_NET_BIND_SERVICE"
        ) == "listener::bind 127.0.0.1:80: EACCES: ports below 1024 need CAP_NET_BIND_SERVICE"
    );
}

TEST_CASE("a thrown error gives the meaning when nothing is known to help") {
    CHECK(
        thrown_text(gyre::errno_code(ECONNREFUSED), "stream::connect [::1]:9") ==
        "stream::connect [::1]:9: ECONNREFUSED: Connection refused"
    );
}

TEST_CASE("a thrown error carries its code") {
    try {
        gyre::throw_error(gyre::errc::closed, "post");
    } catch (const std::system_error& error) {
        CHECK(error.code() == gyre::errc::closed);
    }
}

TEST_CASE("a thrown error keeps its text when it is caught by value and kept") {
    std::exception_ptr kept;
    try {
        gyre::throw_error(gyre::errno_code(EPERM), "io_uring_setup", "see sysctl");
    } catch (...) {
        kept = std::current_exception();
    }

    CHECK_THROWS_WITH_AS(
        std::rethrow_exception(kept), "io_uring_setup: EPERM: see sysctl", std::system_error
    );
}

TEST_SUITE_END();

} // namespace
