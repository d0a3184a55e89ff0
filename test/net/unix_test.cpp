#include <gyre/net/socket_file.hpp>

#include "support/fuzz.hpp"
#include "support/raw_socket.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

// A directory of its own for each test, gone with all that is in it.
class scratch_directory {
public:
    scratch_directory() {
        char name[] = "/tmp/gyre-unix-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path_ = name;
    }
    ~scratch_directory() {
        for (const char* each : {"a.sock", "b.sock", "a.sock.lock"}) {
            ::unlink(file(each).c_str());
        }
        ::rmdir(path_.c_str());
    }
    scratch_directory(const scratch_directory&) = delete;
    scratch_directory& operator=(const scratch_directory&) = delete;

    const std::string& path() const { return path_; }
    std::string file(std::string_view name = "a.sock") const {
        return path_ + '/' + std::string(name);
    }
    gyre::endpoint at(std::string_view name = "a.sock") const {
        return gyre::endpoint::unix_path(file(name)).value();
    }

private:
    std::string path_;
};

class umask_for_now {
public:
    explicit umask_for_now(mode_t mask) : before_(::umask(mask)) {}
    ~umask_for_now() { ::umask(before_); }
    umask_for_now(const umask_for_now&) = delete;
    umask_for_now& operator=(const umask_for_now&) = delete;

private:
    mode_t before_;
};

bool exists(const std::string& path) {
    struct stat status;
    return ::lstat(path.c_str(), &status) == 0;
}
unsigned mode_of(const std::string& path) {
    struct stat status;
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0U;
}

// Whether a connect to it succeeds, or why not.
int connect_to(const gyre::endpoint& at, int type = SOCK_STREAM) {
    const test::raw_socket made(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return ::connect(
               made.get(),
               static_cast<const sockaddr*>(at.data()),
               static_cast<socklen_t>(at.size())
           ) == 0
               ? 0
               : errno;
}

// A socket bound there by the plain system calls; with a `backlog`, it listens.
test::raw_socket bound(const gyre::endpoint& at, int type, int backlog = -1) {
    test::raw_socket made(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    REQUIRE(
        ::bind(
            made.get(), static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())
        ) == 0
    );
    if (backlog >= 0) {
        REQUIRE(::listen(made.get(), backlog) == 0);
    }
    return made;
}

constexpr gyre::listen_options replacing{.file = {.replace_stale = true}};
constexpr gyre::listen_options removing{.file = {.remove_on_close = true}};
constexpr gyre::datagram_options datagram_replacing{.file = {.replace_stale = true}};
constexpr gyre::datagram_options datagram_removing{.file = {.remove_on_close = true}};

// What a process says by its exit code.
int exit_code_of(pid_t child) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::string> logged;
void take_line(gyre::log_level, std::string_view text) noexcept {
    logged.emplace_back(text);
}

// Both ends of a connection to `from`, and a word each way.
gyre::task<> talk_over(gyre::listener& from, const gyre::endpoint& at) {
    auto client = co_await gyre::stream::connect(at);
    REQUIRE(client);
    auto server = co_await from.accept();
    REQUIRE(server);
    CHECK(client->peer_endpoint().value() == at);
    CHECK(server->local_endpoint().value() == at);
    std::array<std::byte, 5> buffer{};
    for (auto [to, other] : {std::pair(&*client, &*server), std::pair(&*server, &*client)}) {
        const auto sent = co_await gyre::send_all(*to, test::bytes_of("hello"));
        CHECK(sent);
        const auto received = co_await gyre::recv_exactly(*other, buffer);
        CHECK(received);
        CHECK(test::text_of(buffer) == "hello");
    }
}

// A message to `to`, which is bound to `at`.
gyre::task<> send_to(gyre::datagram& to, const gyre::endpoint& at) {
    auto sender = gyre::datagram::unbound(gyre::address_family::unix_domain);
    const auto sent = co_await sender.sendto(test::bytes_of("hello"), at);
    CHECK(sent);
    std::array<std::byte, 5> buffer{};
    const auto received = co_await to.recv(buffer);
    CHECK(received);
    CHECK(test::text_of(buffer) == "hello");
}

} // namespace

TEST_SUITE_BEGIN("net/unix");

TEST_CASE("Unix streams work by path, up to 108 bytes of it") {
    test::on_every_engine([]() -> gyre::task<> {
        const scratch_directory here;
        for (const std::size_t size :
             {here.path().size() + 2, std::size_t{107}, std::size_t{108}}) {
            std::string path = here.path() + '/';
            path.append(size - path.size(), 'x');
            const auto at = gyre::endpoint::unix_path(path).value();
            CHECK(at == gyre::endpoint("unix:" + path));
            auto listener = gyre::listener::bind(at, removing);
            CHECK(listener.local_endpoint().value() == at);
            CHECK(exists(path));
            co_await talk_over(listener, at);
            const auto closed = co_await listener.close();
            CHECK(closed);
            CHECK(!exists(path));
        }
    });
}

TEST_CASE("a path that is too long is ENAMETOOLONG, whichever way it comes in, and never cut") {
    const scratch_directory here;
    std::string path = here.path() + '/';
    path.append(109 - path.size(), 'x');
    const auto too_long = gyre::errno_code(ENAMETOOLONG);
    CHECK(gyre::endpoint::parse("unix:" + path).error() == too_long);
    CHECK(gyre::endpoint::unix_path(path).error() == too_long);
    CHECK(gyre::endpoint::unix_path(std::string(100'000, 'x')).error() == too_long);
    CHECK(gyre::endpoint::unix_abstract(std::string(108, 'x')).error() == too_long);
    std::error_code thrown;
    try {
        const auto listener = gyre::listener::bind("unix:" + path);
    } catch (const std::system_error& error) {
        thrown = error.code();
        CHECK(std::string_view(error.what()).find("at most 108 bytes") != std::string_view::npos);
    }
    CHECK(thrown == too_long);
    path.pop_back();
    CHECK(!exists(path));
    CHECK(gyre::endpoint::unix_path("").error() == gyre::errno_code(EINVAL));
    CHECK(
        gyre::endpoint::unix_path(std::string_view("a\0b", 3)).error() == gyre::errno_code(EINVAL)
    );
}

TEST_CASE("a path is taken as it is by unix_path, and escaped where it is printed") {
    const auto odd = gyre::endpoint::unix_path("@a\\x41 b").value();
    CHECK(odd.to_string() == "unix:\\x40a\\x5cx41 b");
    CHECK(gyre::endpoint(odd.to_string()) == odd);
    CHECK(gyre::endpoint::unix_abstract("echo").value() == gyre::endpoint("unix:@echo"));
}

TEST_CASE("abstract names may have zeros, in the middle and at the end, which tell them apart") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string base = "gyre-test-" + std::to_string(::getpid());
        std::vector<gyre::listener> listeners;
        std::vector<gyre::endpoint> names;
        for (const std::string& tail :
             {std::string(), std::string(1, '\0'), std::string("\0a", 2), std::string(2, '\0')}) {
            names.push_back(gyre::endpoint::unix_abstract(base + tail).value());
            listeners.push_back(gyre::listener::bind(names.back()));
        }
        for (std::size_t index = 0; index < names.size(); ++index) {
            CHECK(listeners[index].local_endpoint().value() == names[index]);
            CHECK(gyre::endpoint(names[index].to_string()) == names[index]);
            co_await talk_over(listeners[index], names[index]);
        }
        const auto taken = gyre::listener::try_bind(names[1], replacing);
        CHECK(taken.error() == gyre::errno_code(EADDRINUSE));
    });
}

TEST_CASE("without a name the kernel chooses an abstract one") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("unix:", removing);
        auto other = gyre::listener::bind("unix:");
        const auto at = listener.local_endpoint().value();
        CHECK(at.to_string().starts_with("unix:@"));
        CHECK(at != other.local_endpoint().value());
        co_await talk_over(listener, at);
    });
}

TEST_CASE("the file has the mode that was asked for, whatever the umask, and is born without more"
) {
    const scratch_directory here;
    const test::raw_socket watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    REQUIRE(::inotify_add_watch(watch.get(), here.path().c_str(), IN_ATTRIB) >= 0);
    for (const unsigned mask : {0U, 0022U, 0077U, 0777U}) {
        for (const unsigned mode : {0600U, 0660U, 0777U, 0U}) {
            const umask_for_now set(mask);
            gyre::listen_options options = removing;
            options.file.mode = mode;
            const auto listener = gyre::listener::bind(here.at(), options);
            CHECK(mode_of(here.file()) == mode);
            // What the umask has taken is given afterwards. Nothing is ever taken afterwards.
            std::array<char, 4096> events;
            const bool changed = ::read(watch.get(), events.data(), events.size()) > 0;
            CHECK(changed == ((mode & mask) != 0));
        }
    }
    const umask_for_now set(0027);
    const auto listener = gyre::listener::bind(here.at(), removing);
    CHECK(mode_of(here.file()) == 0750U);
    gyre::listen_options odd;
    odd.file.mode = 01777;
    CHECK(gyre::listener::try_bind(here.at("b.sock"), odd).error() == gyre::errno_code(EINVAL));
    CHECK(!exists(here.file("b.sock")));
}

TEST_CASE("without remove_on_close the file stays") {
    const scratch_directory here;
    {
        const auto listener = gyre::listener::bind(here.at(), {.file = {.mode = 0600}});
    }
    CHECK(exists(here.file()));
    CHECK(connect_to(here.at()) == ECONNREFUSED);
    const auto again = gyre::listener::try_bind(here.at());
    CHECK(again.error() == gyre::errno_code(EADDRINUSE));
}

TEST_CASE("remove_on_close: by close, by the destructor, by assignment, and while it can be reached"
) {
    test::on_every_engine([]() -> gyre::task<> {
        const scratch_directory here;
        {
            auto listener = gyre::listener::bind(here.at(), removing);
            co_await talk_over(listener, here.at());
            const auto closed = co_await listener.close();
            CHECK(closed);
            CHECK(!exists(here.file()));
        }
        {
            auto listener = gyre::listener::bind(here.at(), removing);
            auto moved = std::move(listener);
            CHECK(exists(here.file()));
        }
        CHECK(!exists(here.file()));
        auto first = gyre::listener::bind(here.at(), removing);
        first = gyre::listener::bind(here.at("b.sock"), removing);
        CHECK(!exists(here.file()));
        CHECK(exists(here.file("b.sock")));
        co_await talk_over(first, here.at("b.sock"));
        // A close that nobody awaits does nothing.
        static_cast<void>(first.close());
        CHECK(exists(here.file("b.sock")));
    });
}

TEST_CASE("remove_on_close leaves the file of another alone, and one that was given away") {
    const scratch_directory here;
    {
        const auto listener = gyre::listener::bind(here.at(), removing);
        REQUIRE(::unlink(here.file().c_str()) == 0);
        const auto other = bound(here.at(), SOCK_STREAM, 1);
        CHECK(exists(here.file()));
    }
    CHECK(exists(here.file()));
    REQUIRE(::unlink(here.file().c_str()) == 0);
    {
        auto listener = gyre::listener::bind(here.at(), removing);
        const test::raw_socket released(listener.release());
        auto closed = std::move(listener);
        CHECK(connect_to(here.at()) == 0);
    }
    CHECK(exists(here.file()));
}

TEST_CASE("remove_on_close finds a relative path again after a change of the directory") {
    const scratch_directory here;
    const test::raw_socket before(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(::chdir(here.path().c_str()) == 0);
    {
        const auto listener = gyre::listener::bind("unix:a.sock", removing);
        REQUIRE(::fchdir(before.get()) == 0);
        CHECK(exists(here.file()));
    }
    CHECK(!exists(here.file()));
}

TEST_CASE("a forked process that ends does not remove the file of its parent") {
    const scratch_directory here;
    auto listener = std::make_unique<gyre::listener>(gyre::listener::bind(here.at(), removing));
    const pid_t child = ::fork();
    if (child == 0) {
        listener.reset();
        ::_exit(0);
    }
    CHECK(exit_code_of(child) == 0);
    CHECK(exists(here.file()));
    listener.reset();
    CHECK(!exists(here.file()));
}

TEST_CASE("replace_stale takes over the file of a dead server, and leaves no lock behind") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const int type : {int{SOCK_STREAM}, int{SOCK_SEQPACKET}, int{SOCK_DGRAM}}) {
            const scratch_directory here;
            bound(here.at(), type).close();
            CHECK(exists(here.file()));
            auto listener = gyre::listener::bind(here.at(), replacing);
            CHECK(!exists(here.file("a.sock.lock")));
            co_await talk_over(listener, here.at());
        }
        const scratch_directory here; // Where there is nothing to replace it binds.
        auto listener = gyre::listener::bind(here.at(), replacing);
        co_await talk_over(listener, here.at());
    });
}

TEST_CASE("replace_stale never takes over what lives: listening, full, or only bound, of any type"
) {
    const scratch_directory here;
    const auto in_use = gyre::errno_code(EADDRINUSE);
    for (const int type : {int{SOCK_STREAM}, int{SOCK_SEQPACKET}, int{SOCK_DGRAM}}) {
        for (const int backlog : {-1, 0}) {
            if (type == SOCK_DGRAM && backlog == 0) {
                continue;
            }
            const auto living = bound(here.at(), type, backlog);
            std::vector<test::raw_socket> waiting;
            for (int count = 0; backlog == 0 && count < 2; ++count) {
                waiting.emplace_back(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
                const auto at = here.at();
                static_cast<void>(::connect(
                    waiting.back().get(),
                    static_cast<const sockaddr*>(at.data()),
                    static_cast<socklen_t>(at.size())
                ));
            }
            CHECK(gyre::listener::try_bind(here.at(), replacing).error() == in_use);
            CHECK(connect_to(here.at(), type) != ENOENT);
            CHECK(exists(here.file()));
            REQUIRE(::unlink(here.file().c_str()) == 0);
        }
    }
    CHECK(!exists(here.file("a.sock.lock")));
}

TEST_CASE("replace_stale does not disturb the server that it asks: no connection comes to it") {
    const scratch_directory here;
    const auto living = gyre::listener::bind(here.at());
    for (int round = 0; round < 3; ++round) {
        const auto tried = gyre::listener::try_bind(here.at(), replacing);
        CHECK(tried.error() == gyre::errno_code(EADDRINUSE));
    }
    CHECK(::fcntl(living.native_handle(), F_SETFL, O_NONBLOCK) == 0);
    CHECK(::accept(living.native_handle(), nullptr, nullptr) == -1);
    CHECK(errno == EAGAIN);
}

TEST_CASE("replace_stale touches no file that is no socket, and follows no link") {
    const scratch_directory here;
    const auto in_use = gyre::errno_code(EADDRINUSE);
    {
        const test::raw_socket file(::open(here.file().c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)
        );
        REQUIRE(::write(file.get(), "data", 4) == 4);
    }
    CHECK(gyre::listener::try_bind(here.at(), replacing).error() == in_use);
    struct stat status;
    REQUIRE(::lstat(here.file().c_str(), &status) == 0);
    CHECK(S_ISREG(status.st_mode));
    CHECK(status.st_size == 4);
    REQUIRE(::unlink(here.file().c_str()) == 0);

    bound(here.at("b.sock"), SOCK_STREAM).close();
    REQUIRE(::symlink("b.sock", here.file().c_str()) == 0);
    CHECK(gyre::listener::try_bind(here.at(), replacing).error() == in_use);
    CHECK(exists(here.file()));
    CHECK(exists(here.file("b.sock")));
    REQUIRE(::unlink(here.file().c_str()) == 0);

    // Neither is what stands where the lock would be.
    REQUIRE(::symlink("b.sock", here.file("a.sock.lock").c_str()) == 0);
    bound(here.at(), SOCK_STREAM).close();
    CHECK(gyre::listener::try_bind(here.at(), replacing).error() == gyre::errno_code(ELOOP));
    CHECK(exists(here.file("a.sock.lock")));
}

TEST_CASE("a lock that a dead starter has left is no obstacle; one that is held is EADDRINUSE") {
    const scratch_directory here;
    bound(here.at(), SOCK_STREAM).close();
    const std::string lock = here.file("a.sock.lock");
    {
        const test::raw_socket held(::open(lock.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
        REQUIRE(::flock(held.get(), LOCK_EX) == 0);
        const auto tried = gyre::listener::try_bind(here.at(), replacing);
        CHECK(tried.error() == gyre::errno_code(EADDRINUSE));
        CHECK(exists(lock));
    }
    const auto made = gyre::listener::try_bind(here.at(), replacing);
    CHECK(made);
    CHECK(!exists(lock));
}

TEST_CASE("of many processes that start over a dead server, one takes its place") {
    const scratch_directory here;
    constexpr int starters = 16;
    for (int round = 0; round < 20; ++round) {
        INFO("round ", round);
        ::unlink(here.file().c_str());
        bound(here.at(), SOCK_STREAM).close();
        std::array<int, 2> gate{};
        std::array<int, 2> answers{};
        std::array<int, 2> leave{};
        REQUIRE(::pipe2(gate.data(), O_CLOEXEC) == 0);
        REQUIRE(::pipe2(answers.data(), O_CLOEXEC) == 0);
        REQUIRE(::pipe2(leave.data(), O_CLOEXEC) == 0);
        std::vector<pid_t> children;
        for (int count = 0; count < starters; ++count) {
            const pid_t child = ::fork();
            if (child == 0) {
                ::close(gate[1]);
                ::close(leave[1]);
                char byte = 0;
                static_cast<void>(::read(gate[0], &byte, 1)); // Ends when all have been forked.
                const auto made = gyre::listener::try_bind(here.at(), replacing);
                const char answer = made                                           ? 'y'
                                    : made.error() == gyre::errno_code(EADDRINUSE) ? 'n'
                                                                                   : '?';
                static_cast<void>(::write(answers[1], &answer, 1));
                static_cast<void>(::read(leave[0], &byte, 1)); // Lives until all have answered.
                ::_exit(0);
            }
            children.push_back(child);
        }
        ::close(gate[1]);
        std::string told;
        while (told.size() < starters) {
            char answer = 0;
            REQUIRE(::read(answers[0], &answer, 1) == 1);
            told += answer;
        }
        CHECK(std::count(told.begin(), told.end(), 'y') == 1);
        CHECK(std::count(told.begin(), told.end(), 'n') == starters - 1);
        CHECK(connect_to(here.at()) == 0);
        CHECK(!exists(here.file("a.sock.lock")));
        ::close(leave[1]);
        for (const pid_t child : children) {
            CHECK(exit_code_of(child) == 0);
        }
        for (const int fd : {gate[0], answers[0], answers[1], leave[0]}) {
            ::close(fd);
        }
    }
}

TEST_CASE("servers that come and die all the time never take over one that lives") {
    const scratch_directory here;
    // Each serves a while and looks whether it is still the one that its name leads to. Some leave
    // their file, some remove it, some are killed where they stand.
    const auto serve_and_die = [&](test::dice random) {
        gyre::listen_options options = replacing;
        for (int round = 0; round < 60; ++round) {
            options.file.remove_on_close = random.one_in(3);
            auto made = gyre::listener::try_bind(here.at(), options);
            if (!made) {
                if (made.error() != gyre::errno_code(EADDRINUSE)) {
                    return 3;
                }
                ::sched_yield();
                continue;
            }
            for (std::uint64_t looks = random.below(4); looks > 0; --looks) {
                ::sched_yield();
                const test::raw_socket client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
                const auto at = here.at();
                if (::connect(
                        client.get(),
                        static_cast<const sockaddr*>(at.data()),
                        static_cast<socklen_t>(at.size())
                    ) != 0) {
                    return 4;
                }
                ucred who{};
                socklen_t size = sizeof who;
                ::getsockopt(client.get(), SOL_SOCKET, SO_PEERCRED, &who, &size);
                if (who.pid != ::getpid()) {
                    return 5;
                }
            }
            if (random.one_in(8)) {
                ::_exit(0); // Without a destructor.
            }
        }
        return 0;
    };
    int replaced = 0;
    for (std::uint64_t round = 0; round < 6; ++round) {
        std::vector<pid_t> children;
        for (std::uint64_t count = 0; count < 6; ++count) {
            const pid_t child = ::fork();
            if (child == 0) {
                ::_exit(serve_and_die(test::dice(round * 100 + count)));
            }
            children.push_back(child);
        }
        for (const pid_t child : children) {
            CHECK(exit_code_of(child) == 0);
        }
        replaced += gyre::listener::try_bind(here.at(), replacing) ? 1 : 0;
    }
    CHECK(replaced == 6);
}

TEST_CASE("the file of a datagram socket has the mode that was asked for, whatever the umask") {
    test::on_every_engine([]() -> gyre::task<> {
        const scratch_directory here;
        for (const unsigned mask : {0U, 0077U, 0777U}) {
            for (const unsigned mode : {0600U, 0666U, 0U}) {
                const umask_for_now set(mask);
                gyre::datagram_options options = datagram_removing;
                options.file.mode = mode;
                auto socket = gyre::datagram::bind(here.at(), options);
                CHECK(mode_of(here.file()) == mode);
                co_await send_to(socket, here.at());
            }
        }
        gyre::datagram_options odd;
        odd.file.mode = 01777;
        CHECK(gyre::datagram::try_bind(here.at(), odd).error() == gyre::errno_code(EINVAL));
        CHECK(!exists(here.file()));
        { // With nothing asked for, the umask decides and the file stays.
            const umask_for_now set(0027);
            auto socket = gyre::datagram::bind(here.at());
            CHECK(mode_of(here.file()) == 0750U);
        }
        CHECK(exists(here.file()));
    });
}

TEST_CASE("remove_on_close of a datagram socket: by close, by the destructor, by assignment") {
    test::on_every_engine([]() -> gyre::task<> {
        const scratch_directory here;
        {
            auto socket = gyre::datagram::bind(here.at(), datagram_removing);
            co_await send_to(socket, here.at());
            const auto closed = co_await socket.close();
            CHECK(closed);
            CHECK(!exists(here.file()));
        }
        {
            auto socket = gyre::datagram::bind(here.at(), datagram_removing);
            auto moved = std::move(socket);
            CHECK(exists(here.file()));
        }
        CHECK(!exists(here.file()));
        auto first = gyre::datagram::bind(here.at(), datagram_removing);
        first = gyre::datagram::bind(here.at("b.sock"), datagram_removing);
        CHECK(!exists(here.file()));
        CHECK(exists(here.file("b.sock")));
        co_await send_to(first, here.at("b.sock"));
        { // The file goes with the one that has made it.
            auto second = first.dup();
            REQUIRE(second);
        }
        CHECK(exists(here.file("b.sock")));
        static_cast<void>(first.close()); // A close that nobody awaits does nothing.
        CHECK(exists(here.file("b.sock")));
    });
}

TEST_CASE("remove_on_close of a datagram socket leaves another's file alone, and one given away") {
    test::on_every_engine([]() -> gyre::task<> {
        const scratch_directory here;
        {
            auto socket = gyre::datagram::bind(here.at(), datagram_removing);
            REQUIRE(::unlink(here.file().c_str()) == 0);
            const auto other = bound(here.at(), SOCK_DGRAM);
            const auto closed = co_await socket.close();
            CHECK(closed);
            CHECK(exists(here.file()));
        }
        REQUIRE(::unlink(here.file().c_str()) == 0);
        auto socket = gyre::datagram::bind(here.at(), datagram_removing);
        const test::raw_socket released(socket.release());
        {
            const auto gone = std::move(socket);
        }
        CHECK(connect_to(here.at(), SOCK_DGRAM) == 0);
        auto adopted = gyre::datagram::adopt(::dup(released.get()));
        const auto closed = co_await adopted.close();
        CHECK(closed);
        CHECK(exists(here.file()));
    });
}

TEST_CASE("replace_stale of a datagram socket: the dead of any type are replaced, the living never"
) {
    test::on_every_engine([]() -> gyre::task<> {
        const auto in_use = gyre::errno_code(EADDRINUSE);
        for (const int type : {int{SOCK_STREAM}, int{SOCK_SEQPACKET}, int{SOCK_DGRAM}}) {
            const scratch_directory here;
            auto living = bound(here.at(), type);
            CHECK(gyre::datagram::try_bind(here.at(), datagram_replacing).error() == in_use);
            CHECK(connect_to(here.at(), type) == (type == SOCK_DGRAM ? 0 : ECONNREFUSED));
            living.close();
            CHECK(exists(here.file()));
            CHECK(gyre::datagram::try_bind(here.at()).error() == in_use);
            auto socket = gyre::datagram::bind(here.at(), datagram_replacing);
            CHECK(!exists(here.file("a.sock.lock")));
            co_await send_to(socket, here.at());
            CHECK(gyre::datagram::try_bind(here.at(), datagram_replacing).error() == in_use);
            co_await send_to(socket, here.at()); // It was asked, and has lost nothing.
        }
        const scratch_directory here;
        const test::raw_socket file(::open(here.file().c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)
        );
        CHECK(gyre::datagram::try_bind(here.at(), datagram_replacing).error() == in_use);
        CHECK(exists(here.file()));
    });
}

TEST_CASE("bind says what helps when a Unix name cannot be had") {
    const scratch_directory here;
    const auto living = gyre::listener::bind(here.at());
    const auto what = [](const gyre::endpoint& at, const gyre::listen_options& options) {
        try {
            const auto made = gyre::listener::bind(at, options);
            return std::string("bound");
        } catch (const std::system_error& error) {
            return std::string(error.what());
        }
    };
    const auto says = [](const std::string& text, std::string_view part) {
        INFO(text);
        CHECK(text.find(part) != std::string::npos);
    };
    says(what(here.at(), {}), "EADDRINUSE: the name is taken; if it is the file of a dead server");
    says(what(here.at(), replacing), "EADDRINUSE: a server that lives has the name");
    says(what("unix:/nonexistent/a.sock", replacing), "ENOENT: the directory does not exist");
    says(what(here.at("b.sock"), {.file = {.mode = 010000}}), "EINVAL: the mode of a socket file");
    const auto named = gyre::listener::bind("unix:");
    says(what(named.local_endpoint().value(), {}), "EADDRINUSE: another socket has the name");
    try {
        const auto made = gyre::datagram::bind(here.at(), datagram_replacing);
        CHECK(!made.is_open());
    } catch (const std::system_error& error) {
        says(error.what(), "datagram::bind unix:");
        says(error.what(), "EADDRINUSE: a server that lives has the name");
    }
}

TEST_CASE("a backlog beyond the system's limit is granted in part, and the log says so") {
    const auto limit = gyre::listener::backlog_limit();
    REQUIRE(limit);
    logged.clear();
    const auto before = gyre::set_log_hook(&take_line);
    const auto small = gyre::listener::bind("127.0.0.1:0", {.backlog = 7});
    const auto usual = gyre::listener::bind("127.0.0.1:0");
    const auto just = gyre::listener::bind("127.0.0.1:0", {.backlog = *limit});
    CHECK(logged.empty());
    const auto large = gyre::listener::bind("127.0.0.1:0", {.backlog = *limit + 1});
    gyre::set_log_hook(before);

    // TCP tells its own limit of waiting connections where a connection has other numbers.
    const auto granted = [](const gyre::listener& listener) {
        tcp_info raw{};
        socklen_t size = sizeof raw;
        CHECK(::getsockopt(listener.native_handle(), IPPROTO_TCP, TCP_INFO, &raw, &size) == 0);
        return static_cast<int>(raw.tcpi_sacked);
    };
    CHECK(small.backlog() == 7);
    CHECK(usual.backlog() == std::min(4096, *limit));
    CHECK(just.backlog() == *limit);
    CHECK(large.backlog() == *limit);
    for (const gyre::listener* each : {&small, &usual, &just, &large}) {
        CHECK(granted(*each) == each->backlog());
    }
    REQUIRE(logged.size() == 1);
    CHECK(
        logged[0] == "listener::bind 127.0.0.1:0: a backlog of " + std::to_string(*limit + 1) +
                         " was asked for, and the system allows " + std::to_string(*limit) +
                         "; raise net.core.somaxconn"
    );
    auto adopted = gyre::listener::adopt(::dup(small.native_handle()));
    CHECK(adopted.backlog() == 0);
}

TEST_CASE("the limit of the backlog is that of the network namespace, when it is asked") {
    std::array<int, 2> results{};
    REQUIRE(::pipe2(results.data(), O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        if (::unshare(CLONE_NEWNET) != 0) {
            ::_exit(77);
        }
        const int file = ::open("/proc/sys/net/core/somaxconn", O_WRONLY | O_CLOEXEC);
        if (file < 0 || ::write(file, "5\n", 2) != 2) {
            ::_exit(77);
        }
        gyre::set_log_hook(nullptr);
        const auto listener = gyre::listener::bind("unix:", {.backlog = 100});
        std::array<int, 3> told = {gyre::listener::backlog_limit().value(), listener.backlog(), 0};
        std::vector<test::raw_socket> clients;
        const auto at = listener.local_endpoint().value();
        for (;;) {
            clients.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
            if (::connect(
                    clients.back().get(),
                    static_cast<const sockaddr*>(at.data()),
                    static_cast<socklen_t>(at.size())
                ) != 0) {
                break;
            }
            ++told[2];
        }
        ::_exit(::write(results[1], told.data(), sizeof told) == sizeof told ? 0 : 1);
    }
    const int code = exit_code_of(child);
    if (code == 77) {
        test::skip("no network namespace of its own");
    } else {
        REQUIRE(code == 0);
        std::array<int, 3> told{};
        CHECK(::read(results[0], told.data(), sizeof told) == sizeof told);
        CHECK(told[0] == 5);
        CHECK(told[1] == 5);
        CHECK(told[2] == 6); // The kernel compares with >.
    }
    ::close(results[0]);
    ::close(results[1]);
}

TEST_SUITE_END();
