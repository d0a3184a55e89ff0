#include "ring/perform.hpp"

#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include "support/child.hpp"
#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

using gyre::detail::outcome;
using gyre::detail::perform;
using gyre::detail::perform_blocking;
using gyre::detail::performance;
using test::bytes_of;
using test::submission;
namespace uapi = test::uapi;

namespace {

outcome try_once(const submission& entry) {
    performance which = {entry};
    return perform(which);
}

bool waits_for(const outcome& told, int fd, int events) {
    return told.waits && told.fd == fd && (told.events & static_cast<unsigned>(events)) != 0;
}

// A regular file with this content.
test::raw_fd file_with(const std::string& text) {
    test::raw_fd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(::lseek(file, 0, SEEK_SET) == 0);
    return file;
}

submission splice_entry(std::uint8_t opcode, int from, int to, std::uint32_t size) {
    submission entry = {};
    entry.opcode = opcode;
    entry.fd = to;
    entry.file_index = static_cast<std::uint32_t>(from);
    entry.address = ~std::uint64_t{0};
    entry.offset = ~std::uint64_t{0};
    entry.length = size;
    return entry;
}

volatile std::sig_atomic_t pipes_broken = 0;
void count_broken_pipe(int) {
    pipes_broken = pipes_broken + 1;
}

} // namespace

TEST_SUITE_BEGIN("ring/perform");

TEST_CASE("a receive without data waits for POLLIN, and with MSG_DONTWAIT yields EAGAIN") {
    auto pair = test::socket_pair();
    std::array<std::byte, 4> buffer;

    CHECK(waits_for(try_once(test::recv_entry(pair.first, buffer)), pair.first, POLLIN));
    const outcome told = try_once(test::recv_entry(pair.first, buffer, MSG_DONTWAIT));
    CHECK(!told.waits);
    CHECK(told.result == -EAGAIN);
    CHECK((::fcntl(pair.first, F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("a send to a full socket waits for POLLOUT, and with MSG_DONTWAIT yields EAGAIN") {
    auto pair = test::socket_pair();
    const std::vector<std::byte> much(1 << 20);

    const outcome part = try_once(test::send_entry(pair.first, much));
    CHECK(!part.waits);
    CHECK(part.result > 0);
    CHECK(static_cast<std::size_t>(part.result) < much.size());
    while (!try_once(test::send_entry(pair.first, much)).waits) {
    }
    CHECK(waits_for(try_once(test::send_entry(pair.first, much)), pair.first, POLLOUT));
    CHECK(try_once(test::send_entry(pair.first, much, MSG_DONTWAIT)).result == -EAGAIN);
}

TEST_CASE("a send with MSG_WAITALL remembers what has moved and waits for room for the rest") {
    auto pair = test::socket_pair();
    const std::vector<std::byte> much(1 << 20);
    performance which = {test::send_entry(pair.first, much, MSG_WAITALL)};

    CHECK(perform(which).waits);
    CHECK(which.moved > 0);
    std::size_t drained = 0;
    std::vector<std::byte> sink(1 << 20);
    outcome told = outcome::waits_for(-1, 0);
    while (told.waits) {
        const ssize_t count = ::recv(pair.second, sink.data(), sink.size(), MSG_DONTWAIT);
        REQUIRE(count > 0);
        drained += static_cast<std::size_t>(count);
        told = perform(which);
    }
    CHECK(told.result == 1 << 20);
    CHECK(drained < much.size());
}

TEST_CASE("sendmsg and recvmsg with MSG_WAITALL go on in the middle of a piece of memory") {
    auto pair = test::socket_pair();
    std::array<char, 3> one;
    std::array<char, 4> two;
    std::array<char, 5> three;
    std::array<iovec, 3> pieces = {
        {{one.data(), one.size()}, {two.data(), two.size()}, {three.data(), three.size()}}
    };
    msghdr message = {};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    submission entry = test::recv_entry(pair.first, {}, MSG_WAITALL);
    entry.opcode = uapi::op_recvmsg;
    entry.address = reinterpret_cast<std::uintptr_t>(&message);
    entry.length = 1;
    performance which = {entry};

    for (const char* text : {"ab", "cdef", "ghij"}) {
        CHECK(perform(which).waits);
        REQUIRE(::send(pair.second, text, std::strlen(text), 0) > 0);
    }
    CHECK(perform(which).waits);
    REQUIRE(::send(pair.second, "kl", 2, 0) == 2);
    const outcome told = perform(which);

    CHECK(told.result == 12);
    CHECK(std::string(one.data(), 3) == "abc");
    CHECK(std::string(two.data(), 4) == "defg");
    CHECK(std::string(three.data(), 5) == "hijkl");
}

TEST_CASE("MSG_WAITALL means nothing on datagrams, and MSG_PEEK yields what is there") {
    auto datagrams = test::socket_pair(SOCK_DGRAM);
    std::array<std::byte, 16> buffer;
    REQUIRE(::send(datagrams.second, "five!", 5, 0) == 5);
    CHECK(try_once(test::recv_entry(datagrams.first, buffer, MSG_WAITALL)).result == 5);

    auto pair = test::socket_pair();
    REQUIRE(::send(pair.second, "five!", 5, 0) == 5);
    CHECK(try_once(test::recv_entry(pair.first, buffer, MSG_PEEK | MSG_WAITALL)).result == 5);
    CHECK(try_once(test::recv_entry(pair.first, buffer)).result == 5);
}

TEST_CASE("a connect over loopback ends with 0 or ECONNREFUSED, and its socket blocks again") {
    for (const bool refused : {false, true}) {
        INFO("refused: ", refused);
        auto listening = gyre::listener::bind("127.0.0.1:0");
        const gyre::endpoint at = listening.local_endpoint().value();
        if (refused) {
            const auto nobody = std::move(listening);
        }
        const test::raw_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        submission entry = {};
        entry.opcode = uapi::op_connect;
        entry.fd = client;
        entry.address = reinterpret_cast<std::uintptr_t>(at.data());
        entry.offset = at.size();

        CHECK(try_once(entry).waits); // On its own it does not know how to put it back...
        test::on_software_engines([&](test::raw_engine& engine) {
            const test::raw_fd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            entry.fd = other;
            CHECK(engine.result_of(entry) == (refused ? -ECONNREFUSED : 0));
            CHECK((::fcntl(other, F_GETFL) & O_NONBLOCK) == 0); // ...the engine does.
            if (!refused) {
                CHECK(engine.result_of(entry) == -EISCONN);
            }
        });
    }
}

TEST_CASE("a second connect while one is under way is refused with EALREADY") {
    auto listening = gyre::listener::bind("127.0.0.1:0", {.backlog = 0});
    const gyre::endpoint at = listening.local_endpoint().value();
    const auto* address = static_cast<const sockaddr*>(at.data());
    std::vector<test::raw_fd> fillers;
    for (int count = 0; count < 4; ++count) {
        fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const int answer = ::connect(fillers.back(), address, static_cast<socklen_t>(at.size()));
        CHECK((answer == 0 || errno == EINPROGRESS));
    }
    submission entry = {};
    entry.opcode = uapi::op_connect;
    entry.fd = fillers.back();
    entry.address = reinterpret_cast<std::uintptr_t>(at.data());
    entry.offset = at.size();

    CHECK(try_once(entry).result == -EALREADY);
}

TEST_CASE("accept yields a connection, keeps the flags asked for, and waits for the next one") {
    auto listening = gyre::listener::bind("127.0.0.1:0");
    const gyre::endpoint at = listening.local_endpoint().value();
    submission entry = {};
    entry.opcode = uapi::op_accept;
    entry.fd = listening.native_handle();
    entry.operation_flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    performance which = {entry};
    CHECK(waits_for(perform(which), entry.fd, POLLIN));
    CHECK(which.unblocked);
    const test::raw_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* address = static_cast<const sockaddr*>(at.data());
    REQUIRE(::connect(client, address, static_cast<socklen_t>(at.size())) == 0);

    const outcome told = perform(which);

    REQUIRE(told.result >= 0);
    const test::raw_fd accepted(told.result);
    CHECK((::fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(accepted, F_GETFD) & FD_CLOEXEC) != 0);
    entry.ioprio = uapi::accept_dontwait;
    CHECK(try_once(entry).result == -EAGAIN);
    entry.ioprio = 1; // Multishot.
    CHECK(try_once(entry).result == -EINVAL);
}

TEST_CASE("reads and writes of a pipe wait without its becoming O_NONBLOCK") {
    auto pipe = test::pipe_pair();
    std::array<std::byte, 8> buffer;

    CHECK(
        waits_for(try_once(test::file_entry(uapi::op_read, pipe.first, buffer)), pipe.first, POLLIN)
    );
    CHECK(try_once(test::file_entry(uapi::op_write, pipe.second, bytes_of("abc"))).result == 3);
    submission read = test::file_entry(uapi::op_read, pipe.first, buffer);
    read.offset = 0; // A pipe has no position: the ring takes any.
    CHECK(try_once(read).result == 3);
    const std::vector<std::byte> much(1 << 20);
    const outcome part = try_once(test::file_entry(uapi::op_write, pipe.second, much));
    CHECK(part.result > 0);
    CHECK(waits_for(
        try_once(test::file_entry(uapi::op_write, pipe.second, much)), pipe.second, POLLOUT
    ));
    CHECK((::fcntl(pipe.first, F_GETFL) & O_NONBLOCK) == 0);
    CHECK((::fcntl(pipe.second, F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("readv and writev move pieces of memory") {
    auto pipe = test::pipe_pair();
    char text[] = "abcdef";
    char copy[6] = {};
    std::array<iovec, 2> out = {{{text, 2}, {text + 2, 4}}};
    std::array<iovec, 2> in = {{{copy, 5}, {copy + 5, 1}}};
    submission entry = {};
    entry.opcode = uapi::op_writev;
    entry.fd = pipe.second;
    entry.offset = ~std::uint64_t{0};
    entry.address = reinterpret_cast<std::uintptr_t>(out.data());
    entry.length = 2;
    CHECK(try_once(entry).result == 6);
    entry.opcode = uapi::op_readv;
    entry.fd = pipe.first;
    entry.address = reinterpret_cast<std::uintptr_t>(in.data());
    CHECK(try_once(entry).result == 6);
    CHECK(std::string(copy, 6) == "abcdef");
}

TEST_CASE("a regular file is always ready: reads and polls of it are done at once") {
    const auto file = file_with("content");
    std::array<std::byte, 16> buffer;

    CHECK(try_once(test::file_entry(uapi::op_read, file, buffer)).result == 7);
    CHECK(try_once(test::file_entry(uapi::op_read, file, buffer)).result == 0);
    submission from_two = test::file_entry(uapi::op_read, file, buffer);
    from_two.offset = 2;
    CHECK(try_once(from_two).result == 5);
    CHECK((try_once(test::poll_entry(file, POLLIN)).result & POLLIN) != 0);
    CHECK(try_once(test::file_entry(uapi::op_write, file, bytes_of("more"))).result == 4);
    test::on_software_engines([&](test::raw_engine& engine) {
        CHECK(engine.result_of(from_two) > 0);
        CHECK((engine.result_of(test::poll_entry(file, POLLIN)) & POLLIN) != 0);
    });
}

TEST_CASE("no write raises SIGPIPE, and one that was pending before stays so") {
    struct sigaction counting = {};
    counting.sa_handler = &count_broken_pipe;
    struct sigaction before;
    REQUIRE(::sigaction(SIGPIPE, &counting, &before) == 0);
    auto pipe = test::pipe_pair();
    auto pair = test::socket_pair();
    auto full = test::pipe_pair();
    REQUIRE(::write(full.second, "x", 1) == 1);
    pipe.first.close();
    pair.second.close();

    CHECK(try_once(test::file_entry(uapi::op_write, pipe.second, bytes_of("x"))).result == -EPIPE);
    CHECK(try_once(test::file_entry(uapi::op_write, pair.first, bytes_of("x"))).result == -EPIPE);
    CHECK(try_once(test::send_entry(pair.first, bytes_of("x"))).result == -EPIPE);
    CHECK(try_once(splice_entry(uapi::op_splice, full.first, pair.first, 1)).result == -EPIPE);
    CHECK(pipes_broken == 0);

    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &only, nullptr);
    ::raise(SIGPIPE);
    CHECK(try_once(test::file_entry(uapi::op_write, pipe.second, bytes_of("x"))).result == -EPIPE);
    ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
    CHECK(pipes_broken == 1);
    ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_CASE("a splice whose other end goes when a part is moved yields the part, and no SIGPIPE") {
    struct sigaction counting = {};
    counting.sa_handler = &count_broken_pipe;
    struct sigaction before;
    REQUIRE(::sigaction(SIGPIPE, &counting, &before) == 0);
    pipes_broken = 0;

    // The kernel raises it only if the reset comes between the pieces that one splice sends.
    constexpr std::size_t piece = 1 << 18;
    const std::vector<std::byte> much(piece);
    for (int round = 0; round < 200 && pipes_broken == 0; ++round) {
        auto [to, peer] = test::tcp_sockets();
        auto pipe = test::pipe_pair();
        REQUIRE(::fcntl(pipe.second, F_SETPIPE_SZ, 1 << 20) > 0);
        REQUIRE(::write(pipe.second, much.data(), piece) == ssize_t{piece});
        const linger reset = {1, 0};
        REQUIRE(::setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
        REQUIRE(::shutdown(peer, SHUT_WR) == 0); // After which a reset is EPIPE, not ECONNRESET.
        std::thread other([descriptor = std::move(peer), reads = round % 16 + 1]() mutable {
            for (int i = 0; i < reads; ++i) {
                ::recv(descriptor, nullptr, piece, MSG_TRUNC);
            }
            descriptor.close();
        });
        outcome told = outcome::done(1);
        while (told.result > 0 || told.waits) {
            errno = 0; // What the round before has left is not news.
            told = try_once(splice_entry(uapi::op_splice, pipe.first, to, piece));
            if (!told.waits && told.result > 0) {
                REQUIRE(
                    ::write(pipe.second, much.data(), static_cast<std::size_t>(told.result)) > 0
                );
            }
        }
        other.join();
        CHECK((told.result == -EPIPE || told.result == -ECONNRESET));
    }

    CHECK(pipes_broken == 0);
    ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_CASE("splice moves bytes between a pipe and a socket that both block, and waits for either") {
    auto pipe = test::pipe_pair();
    auto pair = test::socket_pair();
    const auto into_pipe = splice_entry(uapi::op_splice, pair.first, pipe.second, 65536);
    const auto out_of_pipe = splice_entry(uapi::op_splice, pipe.first, pair.first, 65536);
    test::on_software_engines([&](test::raw_engine& engine) {
        engine.queue(into_pipe, 1);
        REQUIRE(engine.submit() == 1);
        CHECK(engine.is_silent());
        REQUIRE(::send(pair.second, "spliced", 7, 0) == 7);
        CHECK(engine.one().result == 7);
        CHECK(engine.result_of(splice_entry(uapi::op_tee, pipe.first, -1, 7)) == -EBADF);
        CHECK(engine.result_of(out_of_pipe) == 7);
        std::array<std::byte, 16> buffer;
        CHECK(engine.result_of(test::recv_entry(pair.second, buffer)) == 7);

        engine.queue(out_of_pipe, 2);
        REQUIRE(engine.submit() == 1);
        CHECK(engine.is_silent());
        REQUIRE(::write(pipe.second, "later", 5) == 5);
        CHECK(engine.one().result == 5);
        CHECK(engine.result_of(test::recv_entry(pair.second, buffer)) == 5);
    });
    submission registered = into_pipe;
    registered.operation_flags = 1U << 31; // SPLICE_F_FD_IN_FIXED
    CHECK(try_once(registered).result == -EINVAL);
}

TEST_CASE("tee copies what a pipe holds and leaves it there") {
    auto from = test::pipe_pair();
    auto to = test::pipe_pair();
    REQUIRE(::write(from.second, "twice", 5) == 5);

    CHECK(try_once(splice_entry(uapi::op_tee, from.first, to.second, 16)).result == 5);

    char copy[8];
    CHECK(::read(from.first, copy, sizeof copy) == 5);
    CHECK(::read(to.first, copy, sizeof copy) == 5);
}

TEST_CASE("openat, statx, close, socket and shutdown are the calls of that name") {
    submission open = {};
    open.opcode = uapi::op_openat;
    open.fd = AT_FDCWD;
    open.address = reinterpret_cast<std::uintptr_t>("/proc/self/stat");
    open.operation_flags = O_RDONLY | O_CLOEXEC;
    const int fd = try_once(open).result;
    REQUIRE(fd >= 0);
    struct statx status = {};
    submission look = {};
    look.opcode = uapi::op_statx;
    look.fd = fd;
    look.address = reinterpret_cast<std::uintptr_t>("");
    look.operation_flags = AT_EMPTY_PATH;
    look.length = STATX_TYPE;
    look.offset = reinterpret_cast<std::uintptr_t>(&status);
    CHECK(try_once(look).result == 0);
    CHECK(S_ISREG(status.stx_mode));
    submission close = {};
    close.opcode = uapi::op_close;
    close.fd = fd;
    CHECK(try_once(close).result == 0);
    CHECK(try_once(close).result == -EBADF);

    submission socket = {};
    socket.opcode = uapi::op_socket;
    socket.fd = AF_INET;
    socket.offset = SOCK_STREAM | SOCK_CLOEXEC;
    const test::raw_fd made(try_once(socket).result);
    REQUIRE(made >= 0);
    submission shutdown = {};
    shutdown.opcode = uapi::op_shutdown;
    shutdown.fd = made;
    shutdown.length = SHUT_WR;
    CHECK(try_once(shutdown).result == -ENOTCONN);
}

TEST_CASE("poll yields the events, errors and hang-ups without being asked, and EBADF") {
    auto pair = test::socket_pair();
    CHECK(waits_for(try_once(test::poll_entry(pair.first, POLLIN)), pair.first, POLLIN));
    CHECK(try_once(test::poll_entry(pair.first, POLLOUT)).result == POLLOUT);
    pair.second.close();
    CHECK((try_once(test::poll_entry(pair.first, 0)).result & POLLHUP) != 0);
    const int gone = ::dup(pair.first);
    ::close(gone);
    CHECK(try_once(test::poll_entry(gone, POLLIN)).result == -EBADF);
    submission multishot = test::poll_entry(pair.first, POLLIN);
    multishot.length = 1;
    CHECK(try_once(multishot).result == -EINVAL);
}

TEST_CASE("bad descriptors and wrong kinds of them fail as the system calls do") {
    std::array<std::byte, 4> buffer;
    const auto file = file_with("x");
    CHECK(try_once(test::recv_entry(-1, buffer)).result == -EBADF);
    CHECK(try_once(test::recv_entry(file, buffer)).result == -ENOTSOCK);
    CHECK(try_once(test::file_entry(uapi::op_read, -1, buffer)).result == -EBADF);
    submission accept = {};
    accept.opcode = uapi::op_accept;
    accept.fd = -1;
    CHECK(try_once(accept).result == -EBADF);
}

TEST_CASE("a descriptor that knows no RWF_NOWAIT is read without waiting and blocks afterwards") {
    char folder[] = "/tmp/gyre-perform-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    const test::raw_fd changes(::inotify_init1(IN_CLOEXEC));
    REQUIRE(::inotify_add_watch(changes, folder, IN_CREATE | IN_DELETE) >= 0);
    std::array<std::byte, 256> buffer;
    const iovec piece = {buffer.data(), buffer.size()};
    REQUIRE(::preadv2(changes, &piece, 1, -1, RWF_NOWAIT) == -1);
    REQUIRE(errno == EOPNOTSUPP);
    const std::string inner = folder + std::string("/changed");

    test::on_software_engines([&](test::raw_engine& engine) {
        engine.queue(test::file_entry(uapi::op_read, changes, buffer), 1);
        REQUIRE(engine.submit() == 1);
        CHECK(engine.is_silent());
        CHECK((::fcntl(changes, F_GETFL) & O_NONBLOCK) == 0);
        REQUIRE(::mkdir(inner.c_str(), 0700) == 0);
        CHECK(engine.one().result >= static_cast<int>(sizeof(inotify_event)));

        engine.queue(test::file_entry(uapi::op_read, changes, buffer), 2);
        REQUIRE(engine.submit() == 1);
        REQUIRE(::rmdir(inner.c_str()) == 0);
        CHECK(engine.one().result >= static_cast<int>(sizeof(inotify_event)));
    });
    CHECK(::rmdir(folder) == 0);
}

TEST_SUITE_END();
