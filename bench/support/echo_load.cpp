// echo_load.cpp: drives an echo server, checks every byte that comes back, and prints one line of
// JSON.
//
// It is written on plain liburing and knows nothing of gyre, so that it cannot favour either of two
// servers that are compared, and it is one thread, so that it fits on the core beside the server.
//
// With --warm-up it measures a stretch in the middle of a run. First every connection makes one
// request: until all are answered no other is made, since a server busy with some may take long to
// accept the rest. Then the warm-up begins, and after it the stretch, which lasts --duration, and
// longer if there were not --answers by then. With --server it also says how much processor time that process has used in this stretch.
// With --mark its parent is told by SIGUSR1 when the stretch begins and when it ends, and the run
// is over there: answers on their way are left alone.
//
// Run: echo_load --connect 127.0.0.1:7000 --connections 64 --size 64 --requests 100000
// Needs: Linux 5.11.

#include "support/histogram.hpp"
#include "support/options.hpp"

#include <liburing.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

constexpr const char* usage =
    "usage: echo_load --connect ADDRESS:PORT [--connections N] [--size BYTES] [--pipeline DEPTH]\n"
    "                 [--requests N | [--warm-up SECONDS] --duration SECONDS [--answers N]]\n"
    "                 [--server PID] [--mark] [--cpu INDEX] [--stall SECONDS]\n";

// The bytes on a connection are a stretch of this sequence, which repeats after a prime number of
// bytes: a message that is lost, doubled or swapped with its neighbour is seen whatever its size.
constexpr std::size_t period = 65521;
constexpr std::size_t chunk_max = 65536; // the most that one send or recv carries

struct settings {
    std::string host;
    unsigned short port = 0;
    unsigned connections = 1;
    std::size_t size = 64;
    unsigned pipeline = 1;
    std::uint64_t requests = 0; // 0: as many as fit into the duration
    double duration = 3;
    double warm_up = 0;
    std::uint64_t answers = 0; // that the duration has to see, or it goes on
    pid_t server = 0;          // 0: none whose processor time is asked for
    bool mark = false;
    double stall = 20; // without a byte for so long the run has failed
};

struct peer {
    int fd = -1;
    bool send_in_flight = false;
    bool ended = false;
    std::size_t origin = 0;               // where in the sequence this connection starts
    std::uint64_t allowed = 0;            // bytes that may be sent: the requests issued so far
    std::uint64_t sent = 0;               // bytes the kernel has taken
    std::uint64_t received = 0;           // bytes that came back
    std::uint64_t issued = 0;             // requests
    std::uint64_t answered = 0;           // requests
    std::uint64_t requests = 0;           // to make in all
    std::vector<std::uint64_t> issued_at; // nanoseconds, by request modulo pipeline
    std::vector<std::byte> buffer;
};

[[noreturn]] void fail(const char* what, int error) {
    std::fprintf(stderr, "echo_load: %s: %s\n", what, std::strerror(error));
    std::exit(1);
}

std::uint64_t now() {
    timespec time = {};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t cpu_time_of(pid_t process) {
    clockid_t id = {};
    timespec time = {};
    if (process == 0) {
        return 0;
    }
    if (int error = ::clock_getcpuclockid(process, &id); error != 0) {
        fail("the server's processor clock", error);
    }
    if (::clock_gettime(id, &time) != 0) {
        fail("the server's processor clock", errno);
    }
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

// Where the measured stretch begins and ends.
struct mark {
    std::uint64_t time = 0;
    std::uint64_t answers = 0;
    std::uint64_t server_cpu = 0;
};

class load {
public:
    explicit load(const settings& chosen) : settings_(chosen), sequence_(period + chunk_max) {
        std::uint32_t state = 1;
        for (std::size_t index = 0; index < period; ++index) {
            state = state * 1664525U + 1013904223U;
            sequence_[index] = static_cast<std::byte>(state >> 24U);
        }
        for (std::size_t index = period; index < sequence_.size(); ++index) {
            sequence_[index] = sequence_[index - period];
        }
        set_up_ring();
        peers_.resize(settings_.connections);
        for (std::size_t index = 0; index < peers_.size(); ++index) {
            connect(peers_[index], index);
        }
    }

    load(const load&) = delete;
    load& operator=(const load&) = delete;

    ~load() {
        for (peer& each : peers_) {
            ::close(each.fd);
        }
        io_uring_queue_exit(&ring_);
    }

    void run() {
        started_ = now();
        if (settings_.warm_up > 0) {
            deadline_ = UINT64_MAX;
            greeting_ = true;
        } else {
            begin(started_);
        }
        for (std::size_t index = 0; index < peers_.size(); ++index) {
            ++open_;
            issue_all(peers_[index]);
            send(index);
            recv(index);
        }
        std::uint64_t progress_at = started_;
        while (open_ > 0) {
            unsigned count = turn();
            std::uint64_t time = now();
            if (greeting_ && answered_peers_ == peers_.size()) {
                warm_up(time);
            } else if (!greeting_ && deadline_ == UINT64_MAX &&
                       time - started_ >= static_cast<std::uint64_t>(settings_.warm_up * 1e9)) {
                begin(time);
            } else if (last_.time == 0 && is_over(time)) {
                last_ = mark_at(time);
                if (settings_.mark) {
                    break;
                }
            }
            if (count > 0) {
                progress_at = time;
            } else if (time - progress_at > static_cast<std::uint64_t>(settings_.stall * 1e9)) {
                std::fprintf(
                    stderr,
                    "echo_load: no byte for %g s; %zu connections are open\n",
                    settings_.stall,
                    open_
                );
                ++errors_;
                break;
            }
        }
        if (last_.time == 0) { // it ended before the time did
            last_ = mark_at(now());
        }
    }

    [[nodiscard]] std::uint64_t errors() const { return errors_; }

    void print() const {
        // Without a warm-up everything counts, up to the last answer; there may be none at all.
        bool stretch = settings_.warm_up > 0;
        std::uint64_t last = stretch ? last_.time : answered_last_;
        double seconds = static_cast<double>(std::max(last, first_.time) - first_.time) / 1e9;
        std::uint64_t answers = stretch ? last_.answers - first_.answers : latency_.total();
        auto requests = static_cast<double>(answers);
        auto microseconds = [this](double fraction) {
            return static_cast<double>(latency_.percentile(fraction)) / 1e3;
        };
        double rate = seconds > 0 ? requests / seconds : 0;
        std::printf(
            "{\"requests\":%llu,\"seconds\":%.6f,\"requests_per_second\":%.1f,"
            "\"megabytes_per_second\":%.3f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,"
            "\"max_us\":%.2f,\"errors\":%llu",
            static_cast<unsigned long long>(answers),
            seconds,
            rate,
            rate * static_cast<double>(settings_.size) / 1e6,
            microseconds(0.5),
            microseconds(0.99),
            microseconds(0.999),
            static_cast<double>(latency_.max()) / 1e3,
            static_cast<unsigned long long>(errors_)
        );
        if (settings_.server != 0) {
            auto used = static_cast<double>(last_.server_cpu - first_.server_cpu);
            std::printf(",\"server_cpu_us\":%.3f", used / 1e3);
        }
        std::puts("}");
    }

private:
    [[nodiscard]] mark mark_at(std::uint64_t time) const {
        if (settings_.mark) {
            ::kill(::getppid(), SIGUSR1);
        }
        return {.time = time, .answers = answers_, .server_cpu = cpu_time_of(settings_.server)};
    }

    [[nodiscard]] bool is_over(std::uint64_t time) const {
        if (settings_.requests > 0 || time < deadline_) {
            return false;
        }
        // Where the answers take ten times as long as the stretch, they are not waited for.
        return answers_ - first_.answers >= settings_.answers ||
               time - first_.time >= static_cast<std::uint64_t>(settings_.duration * 1e10);
    }

    void warm_up(std::uint64_t time) {
        greeting_ = false;
        started_ = time;
        for (std::size_t index = 0; index < peers_.size(); ++index) {
            issue_all(peers_[index]);
            send(index);
        }
    }

    void begin(std::uint64_t time) {
        first_ = mark_at(time);
        deadline_ = time + static_cast<std::uint64_t>(settings_.duration * 1e9);
    }

    void set_up_ring() {
        unsigned entries = std::clamp(settings_.connections * 2, 64U, 4096U);
        int error = 0;
        for (unsigned flags :
             {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
              0U}) {
            io_uring_params parameters = {};
            parameters.flags = flags | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
            parameters.cq_entries = entries * 4;
            error = io_uring_queue_init_params(entries, &ring_, &parameters);
            if (error != -EINVAL) {
                break;
            }
        }
        if (error < 0) {
            fail("io_uring_setup", -error);
        }
        io_uring_register_ring_fd(&ring_);
    }

    void connect(peer& self, std::size_t index) {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_port = htons(settings_.port);
        if (::inet_pton(AF_INET, settings_.host.c_str(), &address.sin_addr) != 1) {
            fail(settings_.host.c_str(), EINVAL);
        }
        self.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (self.fd < 0) {
            fail("socket", errno);
        }
        int on = 1;
        ::setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (::connect(self.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            fail("connect", errno);
        }
        self.origin = index * 7919 % period;
        self.issued_at.resize(settings_.pipeline);
        self.buffer.resize(
            std::clamp<std::size_t>(settings_.size * settings_.pipeline, 4096, chunk_max)
        );
        self.requests = UINT64_MAX;
        if (settings_.requests > 0) {
            self.requests = settings_.requests / settings_.connections +
                            (index < settings_.requests % settings_.connections ? 1 : 0);
        }
    }

    unsigned turn() {
        __kernel_timespec limit = {.tv_sec = 1, .tv_nsec = 0};
        io_uring_cqe* cqe = nullptr;
        int error = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr);
        if (error < 0 && error != -ETIME && error != -EINTR && error != -EAGAIN) {
            fail("io_uring_enter", -error);
        }
        unsigned head = 0;
        unsigned count = 0;
        io_uring_for_each_cqe(&ring_, head, cqe) {
            ++count;
            auto index = static_cast<std::size_t>(cqe->user_data >> 1U);
            if ((cqe->user_data & 1U) != 0) {
                complete_send(index, cqe->res);
            } else {
                complete_recv(index, cqe->res);
            }
        }
        io_uring_cq_advance(&ring_, count);
        return count;
    }

    io_uring_sqe* next_submission() {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        while (sqe == nullptr) {
            io_uring_submit(&ring_);
            sqe = io_uring_get_sqe(&ring_);
        }
        return sqe;
    }

    void issue(peer& self) {
        if (self.issued == self.requests) {
            return;
        }
        std::uint64_t time = now();
        if (is_over(time)) {
            self.requests = self.issued;
            return;
        }
        self.issued_at[self.issued % settings_.pipeline] = time;
        ++self.issued;
        self.allowed += settings_.size;
    }

    // As many as may be on their way.
    void issue_all(peer& self) {
        unsigned depth = greeting_ ? 1 : settings_.pipeline;
        for (unsigned count = 0; count < depth; ++count) {
            issue(self);
        }
    }

    void send(std::size_t index) {
        peer& self = peers_[index];
        if (self.send_in_flight || self.ended) {
            return;
        }
        if (self.sent == self.allowed) {
            if (self.issued == self.requests) {
                // The server sees the end, closes its side, and that ends our last recv: all of
                // its work for this run is done before this program ends.
                ::shutdown(self.fd, SHUT_WR);
                self.ended = true;
            }
            return;
        }
        std::size_t length = std::min<std::uint64_t>(self.allowed - self.sent, chunk_max);
        io_uring_sqe* sqe = next_submission();
        io_uring_prep_send(sqe, self.fd, at(self, self.sent), length, MSG_WAITALL);
        sqe->user_data = index << 1U | 1U;
        self.send_in_flight = true;
    }

    void recv(std::size_t index) {
        peer& self = peers_[index];
        io_uring_sqe* sqe = next_submission();
        io_uring_prep_recv(sqe, self.fd, self.buffer.data(), self.buffer.size(), 0);
        sqe->user_data = index << 1U;
    }

    void complete_send(std::size_t index, int outcome) {
        peer& self = peers_[index];
        self.send_in_flight = false;
        if (outcome <= 0) {
            error("send", outcome);
            self.ended = true;
            ::shutdown(self.fd, SHUT_RDWR);
            return;
        }
        self.sent += static_cast<std::uint64_t>(outcome);
        send(index);
    }

    void complete_recv(std::size_t index, int outcome) {
        peer& self = peers_[index];
        if (outcome <= 0) {
            bool complete = self.ended && self.answered == self.requests;
            if (outcome < 0 || !complete) {
                error("recv", outcome);
            }
            self.ended = true;
            --open_;
            return;
        }
        auto length = static_cast<std::size_t>(outcome);
        if (self.received + length > self.allowed ||
            std::memcmp(self.buffer.data(), at(self, self.received), length) != 0) {
            error("the bytes that came back differ from those sent", 0);
            self.ended = true;
            ::shutdown(self.fd, SHUT_RDWR);
            recv(index);
            return;
        }
        self.received += length;
        if (self.received >= (self.answered + 1) * settings_.size) {
            answered_last_ = now();
        }
        while (self.received >= (self.answered + 1) * settings_.size) {
            // What was issued in the measured stretch, whenever the answer comes.
            std::uint64_t issued_at = self.issued_at[self.answered % settings_.pipeline];
            if (deadline_ != UINT64_MAX && issued_at >= first_.time) {
                latency_.record(answered_last_ - issued_at);
            }
            answered_peers_ += self.answered == 0 ? 1 : 0;
            ++self.answered;
            ++answers_;
            if (!greeting_) {
                issue(self);
            }
        }
        send(index);
        recv(index);
    }

    const std::byte* at(const peer& self, std::uint64_t position) const {
        return sequence_.data() + (self.origin + position) % period;
    }

    void error(const char* what, int outcome) {
        // One line tells what happened; a thousand connections would tell the same.
        if (errors_++ == 0) {
            const char* reason = outcome < 0 ? std::strerror(-outcome) : "early end or wrong bytes";
            std::fprintf(stderr, "echo_load: %s: %s\n", what, reason);
        }
    }

    settings settings_;
    std::vector<std::byte> sequence_;
    io_uring ring_ = {};
    std::vector<peer> peers_;
    std::size_t open_ = 0;
    std::size_t answered_peers_ = 0;
    std::uint64_t answers_ = 0;
    std::uint64_t started_ = 0;
    bool greeting_ = false;
    std::uint64_t deadline_ = 0; // UINT64_MAX while it warms up
    mark first_;
    mark last_;
    std::uint64_t answered_last_ = 0;
    std::uint64_t errors_ = 0;
    bench::histogram latency_;
};

void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) {
        fail("sched_setaffinity", errno);
    }
}

settings parse(int argc, char** argv) {
    settings chosen;
    bench::options options(argc, argv, usage);
    while (options.next()) {
        if (options.is("--connect")) {
            std::string_view where = options.text();
            std::size_t colon = where.rfind(':');
            if (colon == std::string_view::npos) {
                options.fail("needs ADDRESS:PORT");
            }
            const char* end = where.data() + where.size();
            auto parsed = std::from_chars(where.data() + colon + 1, end, chosen.port);
            if (parsed.ec != std::errc() || parsed.ptr != end) {
                options.fail("needs ADDRESS:PORT");
            }
            chosen.host = where.substr(0, colon);
        } else if (options.is("--connections")) {
            chosen.connections = options.number(1U, 100'000U);
        } else if (options.is("--size")) {
            chosen.size = options.number<std::size_t>(1, 1U << 30U);
        } else if (options.is("--pipeline")) {
            chosen.pipeline = options.number(1U, 65536U);
        } else if (options.is("--requests")) {
            chosen.requests = options.number<std::uint64_t>(1, UINT64_MAX - 1);
        } else if (options.is("--duration")) {
            chosen.duration = options.number(0.001, 86400.0);
        } else if (options.is("--warm-up")) {
            chosen.warm_up = options.number(0.001, 86400.0);
        } else if (options.is("--server")) {
            chosen.server = options.number<pid_t>(1, INT_MAX);
        } else if (options.is("--answers")) {
            chosen.answers = options.number<std::uint64_t>(0, UINT64_MAX);
        } else if (options.is("--mark")) {
            chosen.mark = true;
        } else if (options.is("--stall")) {
            chosen.stall = options.number(0.1, 86400.0);
        } else if (options.is("--cpu")) {
            pin(options.number(0, CPU_SETSIZE - 1));
        } else {
            options.unknown();
        }
    }
    if (chosen.host.empty() || (chosen.requests > 0 && chosen.warm_up > 0)) {
        std::fputs(usage, stderr);
        std::exit(2);
    }
    return chosen;
}

} // namespace

int main(int argc, char** argv) {
    auto driver = std::make_unique<load>(parse(argc, argv));
    driver->run();
    driver->print();
    return driver->errors() == 0 ? 0 : 1;
}
