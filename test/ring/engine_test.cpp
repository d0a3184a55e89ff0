#include <gyre/ring/engine.hpp>

#include <gyre/ring/features.hpp>
#include <gyre/ring/uapi.hpp>

#include "support/child.hpp"
#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <sys/resource.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

// Sets a variable of the environment for as long as it lives.
class environment {
public:
    environment(const char* name, const char* value) : name_(name) {
        if (const char* before = std::getenv(name)) {
            before_ = before;
        }
        ::setenv(name, value, 1);
    }
    ~environment() {
        if (before_) {
            ::setenv(name_, before_->c_str(), 1);
        } else {
            ::unsetenv(name_);
        }
    }
    environment(const environment&) = delete;
    environment& operator=(const environment&) = delete;

private:
    const char* name_;
    std::optional<std::string> before_;
};

// What making a scheduler says when it fails, or "" if it does not.
std::string error_of_making(const gyre::scheduler_options& options = {}) {
    try {
        const gyre::scheduler made(options);
    } catch (const std::system_error& error) {
        return error.what();
    }
    return {};
}

// UBSan looks at an object's type through a pipe, which it cannot make at the descriptor limit: it gets
// to know the types that appear there before.
void show_types_first() {
    CHECK(error_of_making().empty());
    gyre::scheduler_options impossible;
    impossible.completion_entries = 1;
    CHECK(!error_of_making(impossible).empty());
}

// One of everything that a program does: data both ways, a timer, a post from another thread, a
// cancel.
void run_small_program(const gyre::scheduler_options& options) {
    gyre::run(options, []() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto sent = co_await pair.client.send(test::bytes_of("hello"));
        CHECK(sent.value() == 5);
        std::array<std::byte, 16> buffer;
        const auto received = co_await pair.server.recv(buffer);
        CHECK(received.value() == 5);
        CHECK(test::text_of(std::span(buffer).first(5)) == "hello");

        const auto before = gyre::clock::now();
        const auto slept = co_await gyre::sleep_for(2ms);
        CHECK(slept);
        CHECK(gyre::clock::now() - before >= 2ms);

        const auto too_late = co_await gyre::with_timeout(pair.server.recv(buffer), 1ms);
        CHECK(too_late.error() == gyre::errc::timed_out);

        // The receive waits, so the loop sleeps, and only the post can wake it.
        std::thread poster([handle = gyre::scheduler::current().handle(), &pair] {
            std::this_thread::sleep_for(5ms);
            const auto posted = handle.post([&pair] {
                const auto closed = pair.client.shutdown(gyre::shutdown_side::send);
                CHECK(closed);
            });
            CHECK(posted);
        });
        const auto ended = co_await pair.server.recv(buffer);
        poster.join();
        CHECK(ended.value() == 0);
    });
}

} // namespace

TEST_SUITE_BEGIN("ring/engine");

TEST_CASE("GYRE_ENGINE chooses the engine, and the report says so") {
    const environment variable("GYRE_ENGINE", "uring");

    const gyre::scheduler made;

    CHECK(made.report().engine == gyre::engine_kind::uring);
    CHECK(made.report().reason.find("GYRE_ENGINE") != std::string::npos);
}

TEST_CASE("an engine named in the options wins over GYRE_ENGINE") {
    const environment variable("GYRE_ENGINE", "no such engine");

    const gyre::scheduler made({.engine = gyre::engine_kind::uring});

    CHECK(made.report().engine == gyre::engine_kind::uring);
    CHECK(made.report().reason.find("scheduler_options") != std::string::npos);
}

TEST_CASE("a GYRE_ENGINE that names no engine is an error that lists the engines") {
    const environment variable("GYRE_ENGINE", "steam");

    const std::string text = error_of_making();

    CHECK(text.find("GYRE_ENGINE \"steam\"") != std::string::npos);
    CHECK(text.find("EINVAL") != std::string::npos);
    CHECK(text.find("automatic") != std::string::npos);
    CHECK(text.find("uring") != std::string::npos);
}

TEST_CASE("an empty GYRE_ENGINE is the same as none") {
    const environment variable("GYRE_ENGINE", "");

    const gyre::scheduler made;

    CHECK(made.report().reason.find("automatic") != std::string::npos);
}

TEST_CASE("the report says what the ring has: entries, flags, opcodes") {
    const gyre::scheduler made(
        {.engine = gyre::engine_kind::uring, .submission_entries = 5, .completion_entries = 33}
    );
    const gyre::engine_report& report = made.report();

    CHECK(report.submission_entries == 8);
    CHECK(report.completion_entries == 64);
    CHECK(report.opcodes[gyre::detail::uapi::op_recv]);
    CHECK(report.opcodes[gyre::detail::uapi::op_async_cancel]);
    CHECK(report.kernel_features != 0);
    const std::string text = report.text();
    for (const char* line :
         {"engine=uring\n",
          "\nreason=",
          "\nsetup_flags=0x",
          "\nkernel_features=0x",
          "\nsubmission_entries=8\n",
          "\ncompletion_entries=64\n",
          "\nfeatures=",
          "\ndisabled=",
          "\nopcodes=0"}) {
        INFO("line: ", line);
        CHECK(text.find(line) != std::string::npos);
    }
}

TEST_CASE("each engine says what its sends of messages can do") {
    for (const gyre::engine_kind kind :
         {gyre::engine_kind::uring, gyre::engine_kind::epoll, gyre::engine_kind::blocking}) {
        for (const gyre::feature_set disable : {gyre::feature_set(), gyre::feature_set::all()}) {
            const auto made = gyre::detail::make_engine({.kind = kind, .disable = disable});
            const bool is_ring = kind == gyre::engine_kind::uring;
            CHECK(made->sends().wait_for_receiver == !is_ring);
            CHECK(
                made->sends().take_address ==
                (!is_ring || made->report().features.contains(gyre::feature::send_address))
            );
        }
    }
}

TEST_CASE("the setup flags in the report are those of the features in the report") {
    namespace uapi = gyre::detail::uapi;
    const gyre::scheduler made;
    const gyre::engine_report& report = made.report();
    const auto agrees = [&](std::uint32_t flag, gyre::feature which) {
        INFO("feature: ", std::string(gyre::feature_name(which)));
        CHECK(((report.setup_flags & flag) != 0) == report.features.contains(which));
    };

    agrees(uapi::setup_submit_all, gyre::feature::submit_all);
    agrees(uapi::setup_coop_taskrun, gyre::feature::coop_taskrun);
    agrees(uapi::setup_single_issuer, gyre::feature::single_issuer);
    agrees(uapi::setup_defer_taskrun, gyre::feature::defer_taskrun);
}

TEST_CASE("each feature can be switched off, and a program runs without it") {
    for (unsigned index = 0; index < gyre::feature_count; ++index) {
        const auto which = static_cast<gyre::feature>(index);
        INFO("without ", std::string(gyre::feature_name(which)));
        gyre::scheduler_options options;
        options.disable.insert(which);
        {
            const gyre::scheduler made(options);
            CHECK(!made.report().features.contains(which));
            CHECK(made.report().disabled.contains(which));
        }
        run_small_program(options);
    }
}

TEST_CASE("a program runs with every feature, and with none") {
    run_small_program({});
    gyre::scheduler_options options;
    options.disable = gyre::feature_set::all();
    {
        const gyre::scheduler made(options);
        CHECK(made.report().features.empty());
        CHECK((made.report().setup_flags & gyre::detail::uapi::setup_submit_all) == 0);
        CHECK(made.report().text().find("\nfeatures=none\n") != std::string::npos);
    }
    run_small_program(options);
}

TEST_CASE("a program runs on one thread beside a program with other features on another") {
    std::thread beside([] {
        gyre::scheduler_options options;
        options.disable = gyre::feature_set::all();
        run_small_program(options);
    });
    run_small_program({});
    beside.join();
}

TEST_CASE("GYRE_DISABLE adds to the features that the options switch off") {
    const environment variable("GYRE_DISABLE", "message_wake,no_iowait");
    gyre::scheduler_options options;
    options.disable.insert(gyre::feature::poll_first);

    const gyre::scheduler made(options);

    CHECK(
        made.report().disabled ==
        gyre::feature_set{
            gyre::feature::message_wake, gyre::feature::no_iowait, gyre::feature::poll_first
        }
    );
    CHECK(!made.report().features.contains(gyre::feature::message_wake));
    CHECK(!made.report().features.contains(gyre::feature::no_iowait));
}

TEST_CASE("a completion queue smaller than the submission queue is an error that says EINVAL") {
    const std::string text = error_of_making({.submission_entries = 64, .completion_entries = 8});

    CHECK(text.find("io_uring_setup: EINVAL") != std::string::npos);
}

TEST_CASE("queues larger than the kernel's limits are cut to them") {
    const gyre::scheduler made({.submission_entries = 1U << 20, .completion_entries = 1U << 22});

    CHECK(made.report().submission_entries == 32768);
    CHECK(made.report().completion_entries == 65536);
}

TEST_CASE("at the descriptor limit the error names RLIMIT_NOFILE") {
    const std::string text = test::in_child([] {
        show_types_first();
        const rlimit limit = {16, 16};
        ::setrlimit(RLIMIT_NOFILE, &limit);
        while (::dup(0) >= 0) {
        }
        return error_of_making();
    });

    CHECK(text.find("io_uring_setup: EMFILE") != std::string::npos);
    CHECK(text.find("RLIMIT_NOFILE") != std::string::npos);
}

TEST_CASE("with one descriptor left a wake-up by eventfd fails, names the limit and keeps none") {
    const std::string text = test::in_child([]() -> std::string {
        show_types_first();
        const rlimit limit = {16, 16};
        ::setrlimit(RLIMIT_NOFILE, &limit);
        int last = -1;
        for (int made = 0; (made = ::dup(0)) >= 0;) {
            last = made;
        }
        ::close(last);
        gyre::scheduler_options options;
        options.disable.insert(gyre::feature::message_wake);
        const std::string error = error_of_making(options);
        return error + (::dup(0) == last ? "; closed" : "; kept open");
    });

    CHECK(text.find("eventfd: EMFILE") != std::string::npos);
    CHECK(text.find("RLIMIT_NOFILE") != std::string::npos);
    CHECK(text.ends_with("; closed"));
}

// The limit counts per user, so the children take a number that nobody else uses.
TEST_CASE("a small locked-memory limit gives smaller rings, a tiny one an error that names it") {
    if (::geteuid() != 0) {
        test::skip("needs root: only a user of its own has its locked memory for itself");
        return;
    }
    const auto with_limit = [](rlim_t bytes) {
        return test::in_child([bytes]() -> std::string {
            const auto user = static_cast<uid_t>(1'000'000'000 + ::getpid());
            const rlimit limit = {bytes, bytes};
            if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || ::setuid(user) != 0) {
                return "cannot become another user";
            }
            try {
                const gyre::scheduler made;
                return std::to_string(made.report().submission_entries) + " entries";
            } catch (const std::system_error& error) {
                return error.what();
            }
        });
    };

    const std::string small = with_limit(rlim_t{48} * 1024);
    const std::string tiny = with_limit(4096);

    INFO("at 48 KiB: ", small);
    INFO("at 4 KiB: ", tiny);
    CHECK((small == "64 entries" || small == "8 entries"));
    CHECK(tiny.find("ENOMEM") != std::string::npos);
    CHECK(tiny.find("RLIMIT_MEMLOCK") != std::string::npos);
}

TEST_CASE("rings that do not fit the locked-memory limit shrink whichever queue is the large one") {
    if (::geteuid() != 0) {
        test::skip("needs root: only a user of its own has its locked memory for itself");
        return;
    }
    const std::string text = test::in_child([]() -> std::string {
        const auto user = static_cast<uid_t>(1'000'000'000 + ::getpid());
        const rlimit limit = {rlim_t{48} * 1024, rlim_t{48} * 1024};
        if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || ::setuid(user) != 0) {
            return "cannot become another user";
        }
        const std::string error = error_of_making({.submission_entries = 8});
        return error.empty() ? "made" : error;
    });

    CHECK(text == "made");
}

TEST_SUITE_END();
