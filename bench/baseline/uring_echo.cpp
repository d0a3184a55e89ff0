// uring_echo.cpp: sends every byte back; written by hand on liburing, as the measure for gyre.
//
// It asks the kernel for what gyre asks it for, so that the two differ in user space only: the same
// ring flags and sizes, a registered ring descriptor, single-shot accept, recv and send, one enter
// per turn that submits and waits. Nothing else is in it: no timeouts, no cancellation, a
// connection is an int and a buffer, and nothing is allocated per request.
//
// Run: uring_echo --listen 127.0.0.1:7000 [--report]   Needs: Linux 5.11; 6.1 for the flags of
// gyre.

#include "baseline/server.hpp"

#include <liburing.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

namespace {

// What the headers of liburing 2.3 lack: Linux 6.15.
constexpr unsigned enter_no_iowait = 1U << 7;
constexpr unsigned feature_no_iowait = 1U << 17;

constexpr unsigned submission_entries = 256;
constexpr unsigned completion_entries = 4096;

enum class kind : unsigned { recv, send, accept, signal };

struct completion {
    std::uint64_t user_data;
    int res;
};

// An operation is named by its kind, its descriptor and, where that is a connection, which of the
// connections that had this number: a late completion cannot hit a successor.
constexpr std::uint64_t kinds = 3;
constexpr std::uint64_t next_generation = std::uint64_t{1} << 32U;

constexpr std::uint64_t id_of(int fd) {
    return static_cast<std::uint64_t>(static_cast<unsigned>(fd)) << 2U;
}

constexpr std::uint64_t user_data(kind what, std::uint64_t id) {
    return id | static_cast<std::uint64_t>(what);
}

struct connection {
    std::array<std::byte, baseline::buffer_size> buffer;
    int length = 0; // what is to be sent
    int sent = 0;   // and has been
    std::uint64_t id = 0;
};

class echo_server {
public:
    echo_server(int listener, int signals) : listener_(listener), signals_(signals) {
        set_up_ring();
        connections_.resize(1024);
        watch_signals();
        accept();
    }

    echo_server(const echo_server&) = delete;
    echo_server& operator=(const echo_server&) = delete;

    ~echo_server() { io_uring_queue_exit(&ring_); }

    void run() {
        while (!stopping_) {
            enter(1);
            // Completions are copied out and their places given back before any is acted upon, as
            // gyre does: a handler that finds the submission queue full enters the kernel, which
            // may then complete more.
            unsigned count = 0;
            do {
                count = reap();
                for (unsigned index = 0; index < count; ++index) {
                    complete(reaped_[index]);
                }
            } while (count == reaped_.size());
        }
    }

    void report() const {
        std::printf(
            "enters=%llu\nsubmissions=%llu\ncompletions=%llu\nrequests=%llu\n"
            "bytes_sent=%llu\n",
            enters_,
            submissions_,
            completions_,
            requests_,
            bytes_sent_
        );
    }

private:
    void set_up_ring() {
        // The flag ladder of gyre: 6.1, then 6.0, then 5.19, then what 5.11 has.
        constexpr std::array<unsigned, 4> ladder = {
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                IORING_SETUP_SUBMIT_ALL,
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                IORING_SETUP_SUBMIT_ALL,
            IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
            0,
        };
        int error = 0;
        for (unsigned flags : ladder) {
            io_uring_params parameters = {};
            parameters.flags = flags | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
            parameters.cq_entries = completion_entries;
            error = io_uring_queue_init_params(submission_entries, &ring_, &parameters);
            if (error != -EINVAL) {
                break;
            }
        }
        if (error < 0) {
            baseline::fail("io_uring_setup", -error);
        }
        enter_flags_ = IORING_ENTER_GETEVENTS;
        if (io_uring_register_ring_fd(&ring_) == 1) {
            enter_flags_ |= IORING_ENTER_REGISTERED_RING;
        }
        if ((ring_.features & feature_no_iowait) != 0) {
            enter_flags_ |= enter_no_iowait;
        }
        // liburing cannot be told to pass NO_IOWAIT before 2.10, so the submission queue is flushed
        // here. The index array maps every slot to itself once, as later liburings do; it is absent
        // where liburing chose a ring without one.
        if (ring_.sq.array != nullptr) {
            for (unsigned index = 0; index < ring_.sq.ring_entries; ++index) {
                ring_.sq.array[index] = index;
            }
        }
    }

    void enter(unsigned wait) {
        unsigned count = ring_.sq.sqe_tail - submitted_;
        io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
        int taken = io_uring_enter(
            static_cast<unsigned>(ring_.enter_ring_fd), count, wait, enter_flags_, nullptr
        );
        ++enters_;
        if (taken >= 0) {
            submitted_ += static_cast<unsigned>(taken);
            submissions_ += static_cast<unsigned>(taken);
        } else if (taken != -EINTR && taken != -EAGAIN && taken != -EBUSY) {
            baseline::fail("io_uring_enter", -taken);
        }
    }

    unsigned reap() {
        unsigned head = 0;
        unsigned count = 0;
        io_uring_cqe* cqe = nullptr;
        io_uring_for_each_cqe(&ring_, head, cqe) {
            reaped_[count] = {.user_data = cqe->user_data, .res = cqe->res};
            if (++count == reaped_.size()) {
                break;
            }
        }
        io_uring_cq_advance(&ring_, count);
        completions_ += count;
        return count;
    }

    io_uring_sqe* next_submission() {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        while (sqe == nullptr) [[unlikely]] {
            enter(0);
            sqe = io_uring_get_sqe(&ring_);
        }
        return sqe;
    }

    // A poll, not a read: every signal that a debugger or tracer raises in this process wakes the
    // waiters of a signalfd(2), and a read that was woken in vain often enough fails.
    void watch_signals() {
        io_uring_sqe* sqe = next_submission();
        io_uring_prep_poll_add(sqe, signals_, POLLIN);
        sqe->user_data = user_data(kind::signal, id_of(signals_));
    }

    void accept() {
        io_uring_sqe* sqe = next_submission();
        io_uring_prep_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        sqe->user_data = user_data(kind::accept, id_of(listener_));
    }

    void recv(int fd, connection& peer) {
        io_uring_sqe* sqe = next_submission();
        io_uring_prep_recv(sqe, fd, peer.buffer.data(), peer.buffer.size(), 0);
        sqe->user_data = user_data(kind::recv, peer.id);
    }

    void send(int fd, connection& peer) {
        io_uring_sqe* sqe = next_submission();
        io_uring_prep_send(
            sqe,
            fd,
            peer.buffer.data() + peer.sent,
            static_cast<std::size_t>(peer.length - peer.sent),
            MSG_WAITALL
        );
        sqe->user_data = user_data(kind::send, peer.id);
    }

    void complete(const completion& done) {
        int fd = static_cast<int>((done.user_data & 0xffffffffU) >> 2U);
        switch (static_cast<kind>(done.user_data & kinds)) {
        case kind::recv:
            if (connection* peer = find(fd, done)) {
                received(fd, *peer, done.res);
            }
            return;
        case kind::send:
            if (connection* peer = find(fd, done)) {
                sent(fd, *peer, done.res);
            }
            return;
        case kind::accept:
            open(done.res);
            return;
        case kind::signal:
            stopping_ = true;
            return;
        }
    }

    connection* find(int fd, const completion& done) {
        connection* peer = connections_[static_cast<std::size_t>(fd)].get();
        return peer->id == (done.user_data & ~kinds) ? peer : nullptr;
    }

    void received(int fd, connection& peer, int outcome) {
        if (outcome <= 0) {
            close(fd, peer);
            return;
        }
        peer.length = outcome;
        peer.sent = 0;
        send(fd, peer);
    }

    void sent(int fd, connection& peer, int outcome) {
        if (outcome <= 0) {
            close(fd, peer);
            return;
        }
        bytes_sent_ += static_cast<unsigned>(outcome);
        peer.sent += outcome;
        // MSG_WAITALL makes the kernel go on by itself; an error can cut a send short all the
        // same, and shows when the rest is sent.
        if (peer.sent < peer.length) {
            send(fd, peer);
            return;
        }
        ++requests_;
        recv(fd, peer);
    }

    static void close(int fd, connection& peer) {
        peer.id += next_generation;
        ::close(fd);
    }

    void open(int fd) {
        accept();
        if (fd < 0) {
            if (fd != -ECONNABORTED) {
                baseline::fail("accept", -fd);
            }
            return;
        }
        auto index = static_cast<std::size_t>(fd);
        if (index >= connections_.size()) {
            connections_.resize(index * 2);
        }
        // The kernel hands out the lowest free number, so a buffer is found again by its next user.
        if (!connections_[index]) {
            connections_[index] = std::make_unique<connection>();
            connections_[index]->id = id_of(fd);
        }
        recv(fd, *connections_[index]);
    }

    io_uring ring_ = {};
    unsigned enter_flags_ = 0;
    unsigned submitted_ = 0;
    int listener_;
    int signals_;
    bool stopping_ = false;
    unsigned long long enters_ = 0;
    unsigned long long submissions_ = 0;
    unsigned long long completions_ = 0;
    unsigned long long requests_ = 0;
    unsigned long long bytes_sent_ = 0;
    std::array<completion, submission_entries> reaped_ = {};
    std::vector<std::unique_ptr<connection>> connections_; // by descriptor
};

} // namespace

int main(int argc, char** argv) {
    baseline::settings chosen = baseline::parse(argc, argv, "liburing " GYRE_BENCH_LIBURING);
    int signals = baseline::signals_to_end();
    echo_server server(baseline::listen_on(chosen), signals);
    server.run();
    if (chosen.report) {
        server.report();
    }
    return 0;
}
