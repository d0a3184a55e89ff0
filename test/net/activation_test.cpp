#include <gyre/net/activation.hpp>

#include "support/raw_socket.hpp"
#include "support/test.hpp"

#include <gyre/ring/engine.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// Sets what a service manager sets for the calling process.
void hand_over(const char* count, const char* names = nullptr, int process = ::getpid()) {
    ::setenv("LISTEN_PID", std::to_string(process).c_str(), 1);
    ::setenv("LISTEN_FDS", count, 1);
    if (names != nullptr) {
        ::setenv("LISTEN_FDNAMES", names, 1);
    }
}

bool nothing_is_left() {
    return ::getenv("LISTEN_PID") == nullptr && ::getenv("LISTEN_FDS") == nullptr &&
           ::getenv("LISTEN_FDNAMES") == nullptr;
}

// Puts the descriptors at the numbers from 3 on, and leaves nothing open above.
void arrange(const std::vector<int>& descriptors) {
    std::vector<int> high;
    for (const int each : descriptors) {
        high.push_back(::fcntl(each, F_DUPFD, 100));
    }
    for (int number = 3; number < 100; ++number) {
        ::close(number);
    }
    int number = 3;
    for (const int each : high) {
        ::dup2(each, number++);
        ::close(each);
    }
}

// Runs `body` in a process of its own; it says by its exit code which of its checks fails.
template <class Body>
int in_a_child(const Body& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(body());
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

} // namespace

TEST_SUITE_BEGIN("net/activation");

TEST_CASE("without a service manager nothing is inherited") {
    CHECK(nothing_is_left());
    CHECK(gyre::inherited_descriptors().empty());
}

TEST_CASE("a service that is started with sockets finds them by name and serves on them") {
    for (const gyre::engine_kind engine : test::engines()) {
        INFO("engine: ", std::string(gyre::engine_name(engine)));
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const test::raw_socket messages(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        std::array<int, 2> output{};
        std::array<int, 2> pipe_too{};
        REQUIRE(::pipe2(output.data(), O_CLOEXEC) == 0);
        REQUIRE(::pipe2(pipe_too.data(), O_CLOEXEC) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
            ::dup2(output[1], 1);
            arrange({messages.get(), pipe_too[0], listener.native_handle()});
            hand_over("3", "udp::echo");
            ::setenv("GYRE_ENGINE", gyre::engine_name(engine), 1);
            ::execl(GYRE_ACTIVATION_CHILD, "activation_child", static_cast<char*>(nullptr));
            ::_exit(127);
        }
        ::close(output[1]);
        auto client = test::raw_socket::connect_to(at.port());
        CHECK(::send(client.get(), "hello", 5, 0) == 5);
        std::array<char, 5> reply{};
        CHECK(::recv(client.get(), reply.data(), reply.size(), MSG_WAITALL) == 5);
        CHECK(std::string_view(reply.data(), 5) == "hello");

        std::string said;
        std::array<char, 1024> part;
        for (ssize_t size = 0; (size = ::read(output[0], part.data(), part.size())) > 0;) {
            said.append(part.data(), static_cast<std::size_t>(size));
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
        CHECK(
            said == "3\n"
                    "then 0\n"
                    "3 udp close-on-exec EPROTOTYPE\n"
                    "4  close-on-exec ENOTSOCK\n"
                    "5 echo close-on-exec listener\n"
        );
        for (const int fd : {output[0], pipe_too[0], pipe_too[1]}) {
            ::close(fd);
        }
    }
}

TEST_CASE("what is meant for another process is not taken, and its variables go") {
    const int code = in_a_child([] {
        hand_over("1", "name", 1);
        const auto taken = gyre::try_inherited_descriptors();
        if (!taken || !taken->empty()) {
            return 1;
        }
        return nothing_is_left() ? 0 : 2;
    });
    CHECK(code == 0);
}

TEST_CASE("without names each is called unknown") {
    const int code = in_a_child([] {
        arrange({0, 0});
        hand_over("2");
        const auto taken = gyre::try_inherited_descriptors();
        if (!taken || taken->size() != 2 || (*taken)[1].name != "unknown") {
            return 1;
        }
        return (*taken)[1].descriptor.native_handle() == 4 && nothing_is_left() ? 0 : 2;
    });
    CHECK(code == 0);
}

TEST_CASE("variables that contradict each other are an error, and nothing is taken") {
    struct {
        const char* count;
        const char* names;
        int error;
    } cases[] = {
        {"x", nullptr, EINVAL},
        {"", nullptr, EINVAL},
        {"-1", nullptr, EINVAL},
        {"2 ", nullptr, EINVAL},
        {"99999999999", nullptr, EINVAL},
        {"2147483647", nullptr, EINVAL},
        {"2", "one", EINVAL},
        {"1", "one:two", EINVAL},
        {"3", nullptr, EBADF},
    };
    for (const auto& each : cases) {
        INFO("LISTEN_FDS=", each.count);
        const int code = in_a_child([&] {
            arrange({0, 0});
            hand_over(each.count, each.names);
            const auto taken = gyre::try_inherited_descriptors();
            if (taken || taken.error() != gyre::errno_code(each.error)) {
                return 1;
            }
            return ::fcntl(3, F_GETFD) == 0 && nothing_is_left() ? 0 : 2;
        });
        CHECK(code == 0);
    }
    const int thrown = in_a_child([] {
        arrange({0, 0});
        hand_over("3");
        try {
            const auto taken = gyre::inherited_descriptors();
        } catch (const std::system_error& error) {
            const std::string_view what = error.what();
            return what == "inherited_descriptors: EBADF: LISTEN_FDS counts descriptors that are "
                           "not open, from number 3 on"
                       ? 0
                       : 1;
        }
        return 2;
    });
    CHECK(thrown == 0);
    CHECK(in_a_child([] {
              hand_over("1");
              ::setenv("LISTEN_PID", "me", 1);
              return gyre::try_inherited_descriptors().error() == gyre::errno_code(EINVAL) ? 0 : 1;
          }) == 0);
}

TEST_SUITE_END();
