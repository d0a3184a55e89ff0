#include <gyre/net/listener.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

std::uint64_t submissions() {
    return gyre::scheduler::current().counters().submissions;
}

// Returns as soon as what was submitted since `before` has completed, and before the tasks that the
// last completion has woken: they became ready later.
gyre::task<> until_completed(std::uint64_t before) {
    while (submissions() == before || gyre::scheduler::current().operations_in_flight() != 0) {
        co_await gyre::yield();
    }
}

gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield(); // The turn that submits them.
}

// A connection made by the plain system call, which returns when the backlog has it.
class plain_client {
public:
    explicit plain_client(const gyre::endpoint& to)
        : fd_(::socket(to.raw_family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const int answer = ::connect(
            fd_, static_cast<const sockaddr*>(to.data()), static_cast<socklen_t>(to.size())
        );
        CHECK(answer == 0);
    }
    plain_client(plain_client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ~plain_client() { close(); }
    void close() {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }
    void reset() {
        const struct linger now{1, 0};
        CHECK(::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
        close();
    }
    int fd() const { return fd_; }
    // True if the other end is gone: closed or reset.
    bool sees_the_end() const {
        char byte = 0;
        return ::recv(fd_, &byte, 1, 0) <= 0;
    }

private:
    int fd_;
};

std::string what_bind_says(const gyre::endpoint& at, const gyre::listen_options& options = {}) {
    try {
        const auto made = gyre::listener::bind(at, options);
        return "bound";
    } catch (const std::system_error& error) {
        const auto tried = gyre::listener::try_bind(at, options);
        CHECK(tried.error() == error.code());
        return error.what();
    }
}

// Lowers the soft limit of descriptors to what is open now, as long as it lives.
class no_descriptors_left {
public:
    no_descriptors_left() {
        // UndefinedBehaviorSanitizer looks at the type of an object through a pipe, for which there
        // will be no descriptor. It remembers what it has seen, so show it what comes.
        CHECK(gyre::listener::try_bind("127.0.0.1:0"));
        const std::system_error thrown(gyre::errno_code(EMFILE));
        CHECK(thrown.code() != gyre::errc::stopped);
        CHECK(!gyre::describe(thrown.code()).empty());
        what_bind_says(gyre::endpoint());
        CHECK(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        rlimit lowered = before_;
        // The lowest free number: nothing at or above it can be opened.
        const int probe = ::dup(0);
        CHECK(probe >= 0);
        ::close(probe);
        lowered.rlim_cur = static_cast<rlim_t>(probe);
        CHECK(::setrlimit(RLIMIT_NOFILE, &lowered) == 0);
    }
    ~no_descriptors_left() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    no_descriptors_left(const no_descriptors_left&) = delete;
    no_descriptors_left& operator=(const no_descriptors_left&) = delete;

private:
    rlimit before_{};
};

constexpr gyre::scheduler_options tiny_submission_queue{.submission_entries = 2};
constexpr gyre::scheduler_options tiny_completion_queue{
    .submission_entries = 2, .completion_entries = 2
};
constexpr std::size_t many = 48;

// One accept on each of many listeners, every one with a client in its backlog.
gyre::task<> accept_on_many() {
    std::vector<gyre::listener> listeners;
    std::vector<plain_client> clients;
    for (std::size_t index = 0; index < many; ++index) {
        listeners.push_back(gyre::listener::bind("127.0.0.1:0"));
        clients.emplace_back(listeners.back().local_endpoint().value());
    }
    std::size_t accepted = 0;
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        for (gyre::listener& each : listeners) {
            scope.spawn([&]() -> gyre::task<> {
                const auto made = co_await each.accept();
                accepted += made ? 1U : 0U;
            });
        }
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    CHECK(accepted == many);
}

} // namespace

TEST_SUITE_BEGIN("net/listener");

TEST_CASE("accept, full: an open stream, close-on-exec, and the peer's endpoint") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        auto client = co_await gyre::stream::connect(listener.local_endpoint().value());
        REQUIRE(client);

        gyre::endpoint peer;
        auto server = co_await listener.accept(peer);

        REQUIRE(server);
        CHECK(server->is_open());
        CHECK(peer == client->local_endpoint().value());
        CHECK((::fcntl(server->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
        CHECK((::fcntl(server->native_handle(), F_GETFL) & O_NONBLOCK) == 0);
        const auto sent = co_await client->send(test::bytes_of("hello"));
        CHECK(sent);
        std::array<std::byte, 8> buffer{};
        const auto received = co_await server->recv(buffer);
        REQUIRE(received);
        CHECK(test::text_of(std::span(buffer).first(*received)) == "hello");
    });
}

TEST_CASE("accept, peer error: a client that resets before it is accepted costs only itself") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        plain_client dying(at);
        dying.reset();
        plain_client living(at);
        REQUIRE(::send(living.fd(), "x", 1, MSG_NOSIGNAL) == 1);

        auto first = co_await listener.accept();
        auto second = co_await listener.accept();

        // Linux hands the dead connection out; its first receive tells.
        std::array<std::byte, 4> buffer{};
        if (first) {
            const auto received = co_await first->recv(buffer);
            CHECK(received.error() == gyre::errno_code(ECONNRESET));
        } else {
            CHECK(first.error() == gyre::errno_code(ECONNABORTED));
        }
        REQUIRE(second);
        const auto received = co_await second->recv(buffer);
        CHECK(received.value_or(0) == 1U);
    });
}

TEST_CASE("accept, stop before submission: refused, and the connection stays in the backlog") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        plain_client client(listener.local_endpoint().value());
        std::error_code refused;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto accepted = co_await listener.accept();
            refused = accepted.error();
        };
        co_await gyre::with_scope(body);
        const auto accepted = co_await listener.accept();

        CHECK(refused == gyre::errno_code(ECANCELED));
        CHECK(accepted);
    });
}

TEST_CASE("accept, stop in flight: it ends, and the listener goes on accepting") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto accepted = co_await listener.accept();
                seen = accepted.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));

        plain_client client(listener.local_endpoint().value());
        const auto accepted = co_await listener.accept();
        CHECK(accepted);
    });
}

TEST_CASE("accept, stop after completion: the stream is the result and the stop stays visible") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        plain_client client(listener.local_endpoint().value());
        std::optional<gyre::stream> accepted;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                auto made = co_await listener.accept();
                saw_stop = gyre::this_task::canceled();
                if (made) {
                    accepted.emplace(*std::move(made));
                }
            });
            co_await until_completed(before);
            CHECK(!accepted.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(saw_stop);
        CHECK(accepted.has_value());
    });
}

TEST_CASE("accept, submission queue full: more accepts than entries all complete") {
    test::on_every_engine(tiny_submission_queue, []() -> gyre::task<> {
        co_await accept_on_many();
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("accept, completion queue overflow: no connection is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        co_await accept_on_many();
        CHECK(gyre::scheduler::current().counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("accept, destroyed while idle: an accept that nobody awaits takes no connection") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        plain_client client(listener.local_endpoint().value());
        const auto before = test::open_descriptors();
        {
            const auto unused = listener.accept();
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        CHECK(test::open_descriptors() == before);
        const auto accepted = co_await listener.accept();
        CHECK(accepted);
    });
}

TEST_CASE("an accept canceled just as a client connects yields it or leaves it: nothing leaks") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const auto before = test::open_descriptors();
        std::size_t won = 0;
        std::size_t lost = 0;
        for (int round = 0; round < 600; ++round) {
            bool accepted = false;
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto made = co_await listener.accept();
                    accepted = made.has_value();
                    if (!accepted) {
                        CHECK(made.error() == gyre::errno_code(ECANCELED));
                    }
                });
                if (round % 2 == 0) {
                    co_await gyre::yield();
                }
                plain_client client(at);
                if (round % 3 == 0) {
                    co_await gyre::yield();
                }
                scope.cancel();
                const auto joined = co_await scope.join();
                CHECK(joined);
                if (accepted) {
                    ++won;
                } else {
                    ++lost;
                    const auto left = co_await gyre::shielded(listener.accept());
                    CHECK(left); // It stayed in the backlog.
                }
                CHECK(client.sees_the_end());
            };
            co_await gyre::with_scope(body);
        }
        CHECK(test::open_descriptors() == before);
        CHECK(won > 0U);
        CHECK(lost > 0U);
    });
}

TEST_CASE("a connection accepted by a loser of when_any is in its outcome or closed") {
    test::on_every_engine([]() -> gyre::task<> {
        auto one = gyre::listener::bind("127.0.0.1:0");
        auto other = gyre::listener::bind("127.0.0.1:0");
        const auto before = test::open_descriptors();
        for (int round = 0; round < 100; ++round) {
            plain_client first(one.local_endpoint().value());
            plain_client second(other.local_endpoint().value());
            std::size_t taken = 0;
            {
                const auto both = co_await gyre::when_any(one.accept(), other.accept());
                taken =
                    (std::get<0>(both.outcomes) ? 1U : 0U) + (std::get<1>(both.outcomes) ? 2U : 0U);
            }
            CHECK(taken != 0U);
            if ((taken & 1U) == 0) {
                const auto left = co_await one.accept();
                CHECK(left);
            }
            if ((taken & 2U) == 0) {
                const auto left = co_await other.accept();
                CHECK(left);
            }
            CHECK(first.sees_the_end());
            CHECK(second.sees_the_end());
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("a listener destroyed while another task accepts cancels that accept") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = std::make_unique<gyre::listener>(gyre::listener::bind("127.0.0.1:0"));
        const auto before = test::open_descriptors();
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto accepted = co_await listener->accept();
                seen = accepted.error();
            });
            co_await until_in_flight(1);
            listener.reset();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        CHECK(test::open_descriptors() == before - 1);
    });
}

TEST_CASE("a listener destroyed while its accept has won hands the connection over all the same") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = std::make_unique<gyre::listener>(gyre::listener::bind("127.0.0.1:0"));
        plain_client client(listener->local_endpoint().value());
        std::optional<gyre::stream> accepted;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                auto made = co_await listener->accept();
                if (made) {
                    accepted.emplace(*std::move(made));
                }
            });
            co_await until_completed(before);
            CHECK(!accepted.has_value());
            listener.reset();
        };
        co_await gyre::with_scope(body);
        REQUIRE(accepted.has_value());
        const auto sent = co_await accepted->send(test::bytes_of("x"));
        CHECK(sent);
    });
}

TEST_CASE("closing a listener ends its accept and resets what waits in the backlog") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto accepted = co_await listener.accept();
                seen = accepted.error();
            });
            co_await until_in_flight(1);
            const auto closed = co_await listener.close();
            CHECK(closed);
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        CHECK(!listener.is_open());
        const auto again = co_await listener.close();
        CHECK(again.error() == gyre::errno_code(EBADF));
        const auto accepted = co_await listener.accept();
        CHECK(accepted.error() == gyre::errno_code(EBADF));
        const auto refused = co_await gyre::stream::connect(at);
        CHECK(refused.error() == gyre::errno_code(ECONNREFUSED));
    });
}

TEST_CASE("port 0 lets the kernel choose, and local_endpoint tells what it chose") {
    auto one = gyre::listener::bind("127.0.0.1:0");
    auto other = gyre::listener::bind("127.0.0.1:0");
    const auto first = one.local_endpoint().value();
    const auto second = other.local_endpoint().value();
    CHECK(first.port() != 0);
    CHECK(second.port() != 0);
    CHECK(first.port() != second.port());
    CHECK(first == gyre::endpoint::loopback_v4(first.port()));
}

TEST_CASE("bind says what failed, where, by which errno, and what helps; try_bind has the errno") {
    auto taken = gyre::listener::bind("127.0.0.1:0");
    const auto at = taken.local_endpoint().value();

    CHECK(
        what_bind_says(at) ==
        "listener::bind " + at.to_string() +
            ": EADDRINUSE: another socket is bound there; choose another port, or share it with "
            "reuse_port"
    );
    CHECK(
        what_bind_says("192.0.2.1:7") ==
        "listener::bind 192.0.2.1:7: EADDRNOTAVAIL: no interface of this machine has that address"
    );
    CHECK(
        what_bind_says(gyre::endpoint()) == "listener::bind unspecified: EINVAL: Invalid argument"
    );
    CHECK(
        what_bind_says("unix:/nonexistent/gyre.sock") ==
        "listener::bind unix:/nonexistent/gyre.sock: ENOENT: the directory does not exist"
    );
    const auto before = test::open_descriptors();
    for (int round = 0; round < 10; ++round) {
        const auto failed = gyre::listener::try_bind(at);
        CHECK(failed.error() == gyre::errno_code(EADDRINUSE));
    }
    CHECK(test::open_descriptors() == before);
}

TEST_CASE("bind without a descriptor left says so") {
    std::string said;
    {
        const no_descriptors_left now;
        said = what_bind_says("127.0.0.1:0");
    }
    CHECK(
        said == "listener::bind 127.0.0.1:0: EMFILE: the process is at its descriptor limit "
                "(RLIMIT_NOFILE); raise it with ulimit -n"
    );
}

TEST_CASE("bind of text that is no endpoint throws, and says how to write one") {
    try {
        const auto made = gyre::listener::bind("localhost:80");
        FAIL("it was bound");
    } catch (const std::system_error& error) {
        CHECK(error.code() == gyre::errno_code(EINVAL));
        CHECK(std::string_view(error.what()).find("localhost:80") != std::string_view::npos);
    }
}

TEST_CASE("reuse_address is on unless switched off") {
    auto usual = gyre::listener::bind("127.0.0.1:0");
    CHECK(usual.option<gyre::reuse_address>().value());
    CHECK(!usual.option<gyre::reuse_port>().value());
    auto without = gyre::listener::bind("127.0.0.1:0", {.reuse_address = false});
    CHECK(!without.option<gyre::reuse_address>().value());
}

TEST_CASE("a server comes back to its port although connections of its earlier life linger") {
    test::on_every_engine([]() -> gyre::task<> {
        std::optional<gyre::listener> first(gyre::listener::bind("127.0.0.1:0"));
        const auto at = first->local_endpoint().value();
        auto client = co_await gyre::stream::connect(at);
        REQUIRE(client);
        {
            auto server = co_await first->accept();
            REQUIRE(server);
        } // The server closes first: its side is the one that lingers.
        std::array<std::byte, 4> buffer{};
        const auto end = co_await client->recv(buffer);
        CHECK(end.value_or(1) == 0U);
        const auto closed = co_await client->close();
        CHECK(closed);
        first.reset();

        const auto without = gyre::listener::try_bind(at, {.reuse_address = false});
        CHECK(without.error() == gyre::errno_code(EADDRINUSE));
        const auto with = gyre::listener::try_bind(at);
        CHECK(with);
    });
}

TEST_CASE("listeners with reuse_port share a port, and every connection reaches one of them") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::listen_options shared{.reuse_port = true};
        auto one = gyre::listener::bind("127.0.0.1:0", shared);
        const auto at = one.local_endpoint().value();
        auto other = gyre::listener::bind(at, shared);
        CHECK(gyre::listener::try_bind(at).error() == gyre::errno_code(EADDRINUSE));

        constexpr std::size_t clients = 64;
        std::vector<plain_client> all;
        for (std::size_t index = 0; index < clients; ++index) {
            all.emplace_back(at);
        }
        std::size_t to_one = 0;
        std::size_t to_other = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            auto count = [&](gyre::listener& from, std::size_t& accepted) -> gyre::task<> {
                for (;;) {
                    const auto made = co_await from.accept();
                    if (!made) {
                        co_return;
                    }
                    ++accepted;
                    if (to_one + to_other == clients) {
                        scope.cancel();
                    }
                }
            };
            scope.spawn(count(one, to_one));
            scope.spawn(count(other, to_other));
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(to_one + to_other == clients);
        CHECK(to_one > 0U);
        CHECK(to_other > 0U);
    });
}

TEST_CASE("v6_only decides whether an IPv6 listener takes IPv4 connections") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::listen_options both{.v6_only = false};
        auto dual = gyre::listener::bind("[::]:0", both);
        CHECK(!dual.option<gyre::v6_only>().value());
        const auto dual_port = dual.local_endpoint().value().port();
        plain_client old(gyre::endpoint::loopback_v4(dual_port));
        gyre::endpoint peer;
        const auto mapped = co_await dual.accept(peer);
        REQUIRE(mapped);
        CHECK(peer.family() == gyre::address_family::ipv6);
        CHECK(peer.is_loopback());

        // The other way round: IPv4 has the port already, so that no other program can come between.
        // For IPv6 it may be taken by chance, and then another one has to do.
        const gyre::listen_options alone{.v6_only = true};
        std::optional<gyre::listener> four;
        std::string at;
        gyre::result<gyre::listener> six = gyre::errno_code(EADDRINUSE);
        for (int port = 0; port < 100 && six.error() == gyre::errno_code(EADDRINUSE); ++port) {
            four = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
            at = "[::]:" + std::to_string(four->local_endpoint().value().port());
            six = gyre::listener::try_bind(gyre::endpoint::parse(at).value(), alone);
        }
        REQUIRE(six);
        CHECK(six->option<gyre::v6_only>().value());
        const auto client = co_await gyre::stream::connect(four->local_endpoint().value());
        REQUIRE(client);
        const auto taken = co_await four->accept(peer);
        REQUIRE(taken);
        CHECK(peer.family() == gyre::address_family::ipv4);
        six = gyre::errno_code(EADDRINUSE);
        const auto both_taken = gyre::listener::try_bind(gyre::endpoint::parse(at).value(), both);
        CHECK(both_taken.error() == gyre::errno_code(EADDRINUSE));
    });
}

TEST_CASE("the peer of an IPv6 connection is told with its scope") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("[::1]:0");
        auto client = co_await gyre::stream::connect(listener.local_endpoint().value());
        REQUIRE(client);
        gyre::endpoint peer;
        const auto server = co_await listener.accept(peer);
        REQUIRE(server);
        CHECK(peer == client->local_endpoint().value());
        CHECK(peer == gyre::endpoint::loopback_v6(peer.port()));
        CHECK(peer.scope_id() == 0U);
    });

    // A link-local address of this machine; the connection to it does not leave the machine.
    gyre::endpoint local;
    ifaddrs* all = nullptr;
    REQUIRE(::getifaddrs(&all) == 0);
    for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
        if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET6) {
            continue;
        }
        sockaddr_in6 address{};
        std::memcpy(&address, each->ifa_addr, sizeof address);
        if (IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr)) {
            std::array<std::uint8_t, 16> bytes{};
            std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
            local = gyre::endpoint::ipv6(bytes, 0, ::if_nametoindex(each->ifa_name));
        }
    }
    ::freeifaddrs(all);
    if (local.family() != gyre::address_family::ipv6) {
        return; // Nothing with a scope to try it with; the part above has run.
    }
    test::on_every_engine([&]() -> gyre::task<> {
        auto listener = gyre::listener::bind(local);
        auto client = co_await gyre::stream::connect(listener.local_endpoint().value());
        REQUIRE(client);
        gyre::endpoint peer;
        const auto server = co_await listener.accept(peer);
        REQUIRE(server);
        CHECK(peer.scope_id() == local.scope_id());
        CHECK(peer == client->local_endpoint().value());
    });
}

TEST_CASE("the peer of a Unix connection has no name, or the one it is bound to") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::string name = "unix:@gyre-listener-test-" + std::to_string(::getpid());
        auto listener = gyre::listener::bind(name);
        CHECK(listener.local_endpoint().value().to_string() == name);
        auto nameless = co_await gyre::stream::connect(name);
        REQUIRE(nameless);
        gyre::endpoint peer = gyre::endpoint::loopback_v4(1);
        const auto first = co_await listener.accept(peer);
        REQUIRE(first);
        CHECK(peer.to_string() == "unix:");

        gyre::connect_options named;
        named.from = name + "-client";
        auto client = co_await gyre::stream::connect(name, named);
        REQUIRE(client);
        const auto second = co_await listener.accept(peer);
        REQUIRE(second);
        CHECK(peer.to_string() == name + "-client");
    });
}

TEST_CASE("accepted streams inherit no_delay, which is on unless switched off") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const bool on : {true, false}) {
            const gyre::listen_options options{.no_delay = on};
            auto listener = gyre::listener::bind("127.0.0.1:0", options);
            plain_client client(listener.local_endpoint().value());
            const auto accepted = co_await listener.accept();
            REQUIRE(accepted);
            CHECK(accepted->option<gyre::no_delay>().value() == on);
        }
    });
}

TEST_CASE("a full backlog makes clients wait, and accepting lets them in") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::listen_options small{.backlog = 1};
        auto listener = gyre::listener::bind("127.0.0.1:0", small);
        const auto at = listener.local_endpoint().value();
        plain_client first(at);
        plain_client second(at);
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            bool connected = false;
            scope.spawn([&]() -> gyre::task<> {
                const auto third = co_await gyre::stream::connect(at);
                CHECK(third);
                connected = true;
            });
            co_await until_in_flight(1);
            const auto waited = co_await gyre::sleep_for(5ms);
            CHECK(waited);
            CHECK(!connected);
            // The client asks again after a second: TCP's first retransmission.
            for (int count = 0; count < 3; ++count) {
                const auto accepted = co_await listener.accept();
                CHECK(accepted);
            }
            const auto joined = co_await scope.join();
            CHECK(joined);
            CHECK(connected);
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("accept without a descriptor left is EMFILE, and the connection stays in the backlog") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        plain_client client(listener.local_endpoint().value());
        std::error_code seen;
        {
            const no_descriptors_left now;
            const auto none = co_await listener.accept();
            seen = none.error();
        }
        const auto accepted = co_await listener.accept();
        CHECK(seen == gyre::errno_code(EMFILE));
        CHECK(accepted);
    });
}

TEST_CASE("connect and pair without a descriptor left are EMFILE") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        std::error_code seen;
        std::error_code thrown;
        {
            const no_descriptors_left now;
            const auto none = co_await gyre::stream::connect(at);
            seen = none.error();
            try {
                const auto pair = gyre::stream::pair();
            } catch (const std::system_error& error) {
                thrown = error.code();
            }
        }
        CHECK(seen == gyre::errno_code(EMFILE));
        CHECK(thrown == gyre::errno_code(EMFILE));
    });
}

TEST_CASE("a listener can be moved while nothing is in flight, and goes on where it was") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        gyre::listener moved(std::move(listener));
        CHECK(!listener.is_open()); // NOLINT(bugprone-use-after-move)
        CHECK(moved.local_endpoint().value() == at);
        plain_client client(at);
        const auto accepted = co_await moved.accept();
        CHECK(accepted);
    });
}

TEST_SUITE_END();
