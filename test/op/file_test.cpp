#include <gyre/op/file.hpp>

#include <gyre/op/descriptor.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

// A folder of its own, with the file "inside" that holds "content".
class folder {
public:
    folder() {
        REQUIRE(::mkdtemp(path_.data()) != nullptr);
        fd = test::raw_fd(::open(path_.c_str(), O_DIRECTORY | O_PATH | O_CLOEXEC));
        const test::raw_fd file(::openat(fd, "inside", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        REQUIRE(::write(file, "content", 7) == 7);
        REQUIRE(::symlinkat("/etc/passwd", fd, "outside") == 0);
    }
    ~folder() {
        for (const char* name : {"inside", "outside", "made"}) {
            ::unlinkat(fd, name, 0);
        }
        ::rmdir(path_.c_str());
    }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;

    test::raw_fd fd;

private:
    std::string path_ = "/tmp/gyre-op-XXXXXX";
};

struct counting_waiter : gyre::detail::waiter {
    counting_waiter() noexcept
        : waiter([](waiter& base) noexcept { ++static_cast<counting_waiter&>(base).told; }) {}
    int told = 0;
};

} // namespace

TEST_SUITE_BEGIN("op/file");

TEST_CASE("op::openat opens close-on-exec, makes with a mode, and fails as openat does") {
    test::on_every_engine([]() -> gyre::task<> {
        const folder place;
        const auto opened = co_await gyre::op::openat(place.fd, "inside", O_RDONLY);
        const test::raw_fd file(opened.value());
        CHECK((::fcntl(file, F_GETFD) & FD_CLOEXEC) != 0);
        std::array<std::byte, 16> buffer;
        const auto read = co_await gyre::op::read(file, buffer);
        CHECK(read.value() == 7);

        const auto made = co_await gyre::op::openat(place.fd, "made", O_CREAT | O_WRONLY, 0640);
        const test::raw_fd fresh(made.value());
        struct ::stat status;
        REQUIRE(::fstat(fresh, &status) == 0);
        CHECK((status.st_mode & 0777) == 0640);

        const auto missing = co_await gyre::op::openat(place.fd, "missing", O_RDONLY);
        CHECK(missing.error() == std::errc::no_such_file_or_directory);
    });
}

TEST_CASE("op::openat2 opens beneath a folder and nothing beyond it") {
    test::on_every_engine([]() -> gyre::task<> {
        const folder place;
        ::open_how how = {};
        how.flags = O_RDONLY | O_CLOEXEC;
        how.resolve = RESOLVE_BENEATH;
        const auto opened = co_await gyre::op::openat2(place.fd, "inside", how);
        const test::raw_fd file(opened.value());
        for (const char* path : {"../etc/passwd", "/etc/passwd", "outside"}) {
            INFO(path);
            const auto refused = co_await gyre::op::openat2(place.fd, path, how);
            CHECK(refused.error() == gyre::errno_code(EXDEV));
        }
    });
}

TEST_CASE("op::statx looks at a name and at an open file") {
    test::on_every_engine([]() -> gyre::task<> {
        const folder place;
        struct ::statx seen = {};
        const auto named = co_await gyre::op::statx(place.fd, "inside", 0, STATX_SIZE, seen);
        CHECK(named);
        CHECK(seen.stx_size == 7);
        const test::raw_fd file(::openat(place.fd, "inside", O_RDONLY | O_CLOEXEC));
        seen = {};
        const auto open =
            co_await gyre::op::statx(file, "", AT_EMPTY_PATH, STATX_BASIC_STATS, seen);
        CHECK(open);
        CHECK(seen.stx_size == 7);
        CHECK(S_ISREG(seen.stx_mode));
        const auto missing = co_await gyre::op::statx(place.fd, "missing", 0, STATX_SIZE, seen);
        CHECK(missing.error() == std::errc::no_such_file_or_directory);
    });
}

TEST_CASE("a file that was opened for nobody is closed") {
    test::on_every_engine([]() -> gyre::task<> {
        const folder place;
        const auto before = test::open_descriptors();
        {
            gyre::detail::stop_state stop;
            counting_waiter told;
            ::open_how how = {};
            how.flags = O_RDONLY | O_CLOEXEC;
            auto one = gyre::op::openat(place.fd, "inside", O_RDONLY);
            auto two = gyre::op::openat2(place.fd, "inside", how);
            gyre::detail::operation_awaiter<gyre::op::openat_operation> first(one);
            gyre::detail::operation_awaiter<gyre::op::openat2_operation> second(two);
            first.start({gyre::detail::run_loop::current(), &stop, nullptr}, told);
            second.start({gyre::detail::run_loop::current(), &stop, nullptr}, told);
            while (told.told < 2) {
                co_await gyre::yield();
            }
            CHECK(test::open_descriptors() == before + 2);
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_SUITE_END();
