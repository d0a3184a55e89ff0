// What happens where io_uring is not available, by real means: a filter of system calls, and limits.

#include <gyre/ring/engine.hpp>

#include "support/child.hpp"
#include "support/seccomp.hpp"
#include "support/test.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr const char* line_break = "\n";

std::string caught; // What was logged.

void keep_line(gyre::log_level level, std::string_view text) noexcept {
    caught += level == gyre::log_level::warning ? "warning: " : "other: ";
    caught.append(text);
    caught += line_break;
}

// Makes a scheduler, has it move some bytes, and says which engine did it and why.
std::string engine_and_reason(const gyre::scheduler_options& options = {}) {
    try {
        std::string told;
        gyre::run(options, [&]() -> gyre::task<> {
            auto pair = gyre::stream::pair();
            co_await gyre::or_throw(pair.first.send(test::bytes_of("abc")));
            std::array<std::byte, 8> buffer;
            const auto received = co_await pair.second.recv(buffer);
            const auto& report = gyre::scheduler::current().report();
            told = std::string(gyre::engine_name(report.engine)) + ": " + report.reason + ": " +
                   std::to_string(received.value_or(0)) + " bytes";
        });
        return told;
    } catch (const std::system_error& error) {
        return std::string("thrown: ") + error.what();
    }
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

const std::vector<long> all_of_io_uring = {
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register
};

std::string with_filter(
    const std::vector<long>& calls, int error, const gyre::scheduler_options& options = {}
) {
    return test::in_child([&]() -> std::string {
        gyre::set_log_hook(&keep_line);
        test::refuse_calls(calls, error);
        std::string told = engine_and_reason(options);
        told += line_break + engine_and_reason(options);
        return told + line_break + caught;
    });
}

} // namespace

TEST_SUITE_BEGIN("ring/fallback");

TEST_CASE("where a filter answers EPERM or ENOSYS for io_uring, epoll takes over and says why") {
    for (const auto& [error, name] :
         {std::pair(EPERM, "EPERM"), std::pair(ENOSYS, "ENOSYS"), std::pair(EACCES, "EACCES")}) {
        const std::string told = with_filter(all_of_io_uring, error);

        INFO(told);
        CHECK(told.starts_with("epoll: automatic: "));
        CHECK(contains(told, std::string("io_uring_setup: ") + name));
        CHECK(contains(told, ": 3 bytes\nepoll: "));
    }
}

TEST_CASE("a fallback is logged once per process, as a warning with the reason") {
    const std::string told = with_filter(all_of_io_uring, EPERM);

    INFO(told);
    const auto first = told.find("warning: ");
    REQUIRE(first != std::string::npos);
    CHECK(contains(told.substr(first), "io_uring_setup: EPERM"));
    CHECK(told.find("warning: ", first + 1) == std::string::npos);
}

TEST_CASE("log_fallback = false keeps a fallback out of the log") {
    const std::string told = with_filter(all_of_io_uring, EPERM, {.log_fallback = false});

    INFO(told);
    CHECK(told.starts_with("epoll: automatic: "));
    CHECK(!contains(told, "warning: "));
}

TEST_CASE("a filter that lets a ring be made and refuses to enter it is found out at the start") {
    const std::string told = with_filter({SYS_io_uring_enter}, EPERM);

    INFO(told);
    CHECK(told.starts_with("epoll: automatic: "));
    CHECK(contains(told, "io_uring_enter: EPERM"));
    CHECK(contains(told, ": 3 bytes"));
}

TEST_CASE("a filter that refuses io_uring_register alone leaves a ring without what needs it") {
    const std::string told = with_filter({SYS_io_uring_register}, EPERM);

    INFO(told);
    CHECK(told.starts_with("uring: "));
    CHECK(contains(told, ": 3 bytes"));
}

TEST_CASE("an engine that was asked for does not fall back: the error is thrown") {
    const std::string told =
        with_filter(all_of_io_uring, EPERM, {.engine = gyre::engine_kind::uring});

    INFO(told);
    CHECK(told.starts_with("thrown: io_uring_setup: EPERM"));
    CHECK(!contains(told, "warning: "));
}

TEST_CASE("GYRE_ENGINE=uring does not fall back either") {
    const std::string told = test::in_child([]() -> std::string {
        ::setenv("GYRE_ENGINE", "uring", 1);
        test::refuse_calls(all_of_io_uring, ENOSYS);
        return engine_and_reason();
    });

    CHECK(told.starts_with("thrown: io_uring_setup: ENOSYS"));
}

TEST_CASE("GYRE_ENGINE is read before the first call of io_uring, which a filter may punish") {
    for (const std::string engine : {"epoll", "blocking"}) {
        const std::string told = test::in_child([&]() -> std::string {
            ::setenv("GYRE_ENGINE", engine.c_str(), 1);
            test::kill_on_calls(all_of_io_uring);
            return engine_and_reason();
        });

        INFO(told);
        CHECK(told.starts_with(engine + ": chosen by GYRE_ENGINE"));
        CHECK(told.ends_with(": 3 bytes"));
    }
}

TEST_CASE("no memory for a ring is a limit that is named, not a reason to fall back") {
    const std::string told = with_filter({SYS_io_uring_setup}, ENOMEM);

    INFO(told);
    CHECK(told.starts_with("thrown: io_uring_setup: ENOMEM"));
    CHECK(contains(told, "RLIMIT_MEMLOCK"));
    CHECK(!contains(told, "warning: "));
}

TEST_CASE("no descriptor for a ring is a limit that is named, not a reason to fall back") {
    for (const int error : {EMFILE, ENFILE}) {
        const std::string told = with_filter({SYS_io_uring_setup}, error);

        INFO(told);
        CHECK(told.starts_with("thrown: io_uring_setup: "));
        CHECK(contains(told, error == EMFILE ? "RLIMIT_NOFILE" : "fs.file-max"));
    }
}

TEST_CASE("at the descriptor limit every engine throws and names RLIMIT_NOFILE") {
    for (const gyre::engine_kind engine :
         {gyre::engine_kind::automatic,
          gyre::engine_kind::uring,
          gyre::engine_kind::epoll,
          gyre::engine_kind::blocking}) {
        for (const int left : {0, 1}) {
            if (left == 1 && engine != gyre::engine_kind::epoll) {
                continue; // The others need one.
            }
            const std::string told = test::in_child([&]() -> std::string {
                // What a sanitizer looks up through a pipe, it looks up before.
                engine_and_reason({.engine = engine});
                engine_and_reason({.engine = engine, .completion_entries = 1});
                const rlimit limit = {16, 16};
                ::setrlimit(RLIMIT_NOFILE, &limit);
                int last = -1;
                for (int made = 0; (made = ::dup(0)) >= 0;) {
                    last = made;
                }
                if (left == 1) {
                    ::close(last);
                }
                std::string error = engine_and_reason({.engine = engine});
                if (left == 1) {
                    error += ::dup(0) == last ? "; closed" : "; kept open";
                }
                return error;
            });

            INFO(gyre::engine_name(engine), ", ", left, " left: ", told);
            CHECK(told.starts_with("thrown: "));
            CHECK(contains(told, "EMFILE"));
            CHECK(contains(told, "RLIMIT_NOFILE"));
            CHECK(!told.ends_with("; kept open"));
        }
    }
}

TEST_SUITE_END();
