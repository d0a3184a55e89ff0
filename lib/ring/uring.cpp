#include "ring/limits.hpp"

#include <gyre/error.hpp>
#include <gyre/log.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/ring/engine.hpp>
#include <gyre/ring/features.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include <liburing.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

static_assert(sizeof(submission) == sizeof(io_uring_sqe));
static_assert(offsetof(submission, opcode) == offsetof(io_uring_sqe, opcode));
static_assert(offsetof(submission, flags) == offsetof(io_uring_sqe, flags));
static_assert(offsetof(submission, ioprio) == offsetof(io_uring_sqe, ioprio));
static_assert(offsetof(submission, fd) == offsetof(io_uring_sqe, fd));
static_assert(offsetof(submission, offset) == offsetof(io_uring_sqe, off));
static_assert(offsetof(submission, address) == offsetof(io_uring_sqe, addr));
static_assert(offsetof(submission, length) == offsetof(io_uring_sqe, len));
static_assert(offsetof(submission, operation_flags) == offsetof(io_uring_sqe, msg_flags));
static_assert(offsetof(submission, user_data) == offsetof(io_uring_sqe, user_data));
static_assert(offsetof(submission, buffer_index) == offsetof(io_uring_sqe, buf_index));
static_assert(offsetof(submission, personality) == offsetof(io_uring_sqe, personality));
static_assert(offsetof(submission, file_index) == offsetof(io_uring_sqe, file_index));
static_assert(offsetof(submission, address3) == offsetof(io_uring_sqe, addr3));
static_assert(offsetof(completion, user_data) == offsetof(io_uring_cqe, user_data));
static_assert(offsetof(completion, result) == offsetof(io_uring_cqe, res));
static_assert(offsetof(completion, flags) == offsetof(io_uring_cqe, flags));
static_assert(uapi::op_async_cancel == IORING_OP_ASYNC_CANCEL);
static_assert(uapi::op_accept == IORING_OP_ACCEPT && uapi::op_connect == IORING_OP_CONNECT);
static_assert(uapi::op_send == IORING_OP_SEND && uapi::op_recv == IORING_OP_RECV);
static_assert(uapi::op_sendmsg == IORING_OP_SENDMSG && uapi::op_recvmsg == IORING_OP_RECVMSG);
static_assert(uapi::op_poll_add == IORING_OP_POLL_ADD && uapi::op_nop == IORING_OP_NOP);
static_assert(uapi::op_timeout == IORING_OP_TIMEOUT);
static_assert(uapi::op_read == IORING_OP_READ && uapi::op_write == IORING_OP_WRITE);
static_assert(uapi::op_readv == IORING_OP_READV && uapi::op_writev == IORING_OP_WRITEV);
static_assert(uapi::op_openat == IORING_OP_OPENAT && uapi::op_close == IORING_OP_CLOSE);
static_assert(uapi::op_statx == IORING_OP_STATX && uapi::op_splice == IORING_OP_SPLICE);
static_assert(uapi::op_tee == IORING_OP_TEE && uapi::op_shutdown == IORING_OP_SHUTDOWN);
static_assert(uapi::op_socket == IORING_OP_SOCKET);
static_assert(uapi::sqe_async == IOSQE_ASYNC);
static_assert(uapi::cancel_all == IORING_ASYNC_CANCEL_ALL);
static_assert(uapi::cancel_fd == IORING_ASYNC_CANCEL_FD);
static_assert(uapi::cancel_any == IORING_ASYNC_CANCEL_ANY);
static_assert(uapi::setup_cqsize == IORING_SETUP_CQSIZE);
static_assert(uapi::setup_clamp == IORING_SETUP_CLAMP);
static_assert(uapi::setup_submit_all == IORING_SETUP_SUBMIT_ALL);
static_assert(uapi::setup_coop_taskrun == IORING_SETUP_COOP_TASKRUN);
static_assert(uapi::setup_taskrun_flag == IORING_SETUP_TASKRUN_FLAG);
static_assert(uapi::setup_single_issuer == IORING_SETUP_SINGLE_ISSUER);
static_assert(uapi::setup_defer_taskrun == IORING_SETUP_DEFER_TASKRUN);
static_assert(uapi::feat_ext_arg == IORING_FEAT_EXT_ARG);
static_assert(uapi::feat_nodrop == IORING_FEAT_NODROP);
static_assert(uapi::feat_fast_poll == IORING_FEAT_FAST_POLL);
static_assert(uapi::feat_submit_stable == IORING_FEAT_SUBMIT_STABLE);
static_assert(uapi::enter_getevents == IORING_ENTER_GETEVENTS);
static_assert(uapi::enter_ext_arg == IORING_ENTER_EXT_ARG);
static_assert(uapi::enter_registered_ring == IORING_ENTER_REGISTERED_RING);
static_assert(uapi::sq_cq_overflow == IORING_SQ_CQ_OVERFLOW);
static_assert(uapi::cqe_f_more == IORING_CQE_F_MORE);
static_assert(uapi::recvsend_poll_first == IORING_RECVSEND_POLL_FIRST);

// Closing a ring unmaps it, and the next ring of another thread may get the same addresses. The
// kernel orders the two; this says so to a race detector, which does not see it.
constinit std::atomic<unsigned> rings_closed{0};

constexpr std::uint64_t ignored_user_data = 3ULL << 28;

engine_time monotonic_now() noexcept {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// What a caller can do about the errno of io_uring_setup(2).
const char* setup_help(int error) noexcept {
    switch (error) {
    case ENOSYS:
        return "the kernel has no io_uring, or a sandbox hides it";
    case EPERM:
        return "io_uring is disabled for this user; see sysctl kernel.io_uring_disabled, or the "
               "sandbox's seccomp filter";
    case EACCES:
        return "a sandbox forbids io_uring";
    case ENOMEM:
        return "the rings do not fit the locked-memory limit (RLIMIT_MEMLOCK); raise it with "
               "ulimit -l";
    default:
        return limit_help(error);
    }
}

class uring_engine final : public engine {
public:
    uring_engine(const engine_options& options, std::string reason);
    ~uring_engine() override;

    int enter(unsigned wanted, engine_time deadline) noexcept override;
    bool overflown() const noexcept override {
        return (std::atomic_ref<unsigned>(*ring_.sq.kflags).load(std::memory_order_relaxed) &
                uapi::sq_cq_overflow) != 0;
    }
    engine_time now() const noexcept override { return monotonic_now(); }
    void wake() noexcept override;
    void woken() noexcept override;
    int pollable_descriptor() override;
    domain& resources() const noexcept override { return kernel_domain(); }

private:
    void set_up(const engine_options& options);
    void map_queues() noexcept;
    void prove_enter();
    void probe_opcodes() noexcept;
    void require_opcodes() const;
    bool arm_event() noexcept;
    int raw_enter(unsigned wanted, engine_time deadline) noexcept;
    void set_until(engine_time limit) noexcept;

    io_uring ring_{};
    unsigned enter_flags_ = 0;
    bool absolute_timer_ = false;
    engine_time until_for_ = -1; // What `until_` says.
    __kernel_timespec until_{};
    io_uring_getevents_arg argument_{};
    bool message_wake_ = false;
    bool event_unarmed_ = false;
    int event_fd_ = -1; // By which other threads wake the ring, without message_wake.
    // Signalled by the ring at each completion, and by wakers. Theirs is the one reason for atomic.
    std::atomic<int> pollable_fd_{-1};
};

uring_engine::uring_engine(const engine_options& options, std::string reason) {
    report_.engine = engine_kind::uring;
    report_.reason = std::move(reason);
    report_.disabled = options.disable;
    set_up(options);
    try {
        map_queues();
        const auto allowed = [&](feature which) { return !options.disable.contains(which); };

        enter_flags_ = uapi::enter_getevents;
        if (allowed(feature::registered_ring) && io_uring_register_ring_fd(&ring_) == 1) {
            enter_flags_ |= uapi::enter_registered_ring;
            report_.features.insert(feature::registered_ring);
        }
        if (allowed(feature::no_iowait) && (ring_.features & uapi::feat_no_iowait) != 0) {
            enter_flags_ |= uapi::enter_no_iowait;
            report_.features.insert(feature::no_iowait);
        }
        // ABS_TIMER came with the kernel that has MIN_TIMEOUT and has no bit of its own.
        if (allowed(feature::absolute_timer) && (ring_.features & uapi::feat_min_timeout) != 0) {
            absolute_timer_ = true;
            report_.features.insert(feature::absolute_timer);
        }
        prove_enter();
        probe_opcodes();
        require_opcodes();
        if (allowed(feature::poll_first) && report_.opcodes[IORING_OP_SOCKET]) {
            report_.features.insert(feature::poll_first);
        }
        // Of the same kernel, and with a bit of its own.
        if (allowed(feature::send_address) && report_.opcodes[uapi::op_sendmsg_zc]) {
            report_.features.insert(feature::send_address);
        }
        sends_.take_address = report_.features.contains(feature::send_address);
        // Seen on 6.18: tried again after the wait, the payload is used up. An empty message arrives,
        // and the send says that all is well.
        sends_.wait_for_receiver = false;

        if (allowed(feature::message_wake)) {
            message_wake_ = true; // Believed until the first one fails.
            wake();
            message_wake_ = raw_enter(0, never) >= 0 && completions.waiting() == 1;
            completions.advance(completions.waiting());
        }
        if (message_wake_) {
            report_.features.insert(feature::message_wake);
        } else {
            event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
            if (event_fd_ < 0) {
                const int error = errno;
                throw_error(errno_code(error), "eventfd", setup_help(error));
            }
            event_unarmed_ = true;
        }
        io_uring_ring_dontfork(&ring_);
    } catch (...) {
        if (event_fd_ >= 0) {
            ::close(event_fd_);
        }
        io_uring_queue_exit(&ring_);
        throw;
    }
}

uring_engine::~uring_engine() {
    rings_closed.fetch_add(1, std::memory_order_release);
    io_uring_queue_exit(&ring_);
    for (const int fd : {event_fd_, pollable_fd_.load()}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

// Not the ring's own descriptor: on a ring with DEFER_TASKRUN (seen on 6.18) poll(2) is not woken
// by work that waits for its owner to enter, and a registered eventfd is.
int uring_engine::pollable_descriptor() {
    int fd = pollable_fd_.load(std::memory_order_relaxed);
    if (fd < 0) {
        // Readable from the start: something may have completed before.
        fd = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0) {
            const int error = errno;
            throw_error(errno_code(error), "eventfd", setup_help(error));
        }
        if (const int error = io_uring_register_eventfd(&ring_, fd); error < 0) {
            ::close(fd);
            throw_error(errno_code(-error), "io_uring_register_eventfd");
        }
        pollable_fd_.store(fd);
    }
    return fd;
}

// The flag ladder: the newest way of running completions that kernel and options allow.
void uring_engine::set_up(const engine_options& options) {
    struct rung {
        unsigned flags;
        std::initializer_list<feature> needs;
    };
    constexpr unsigned base = uapi::setup_clamp | uapi::setup_cqsize;
    constexpr unsigned taskrun = uapi::setup_taskrun_flag;
    const std::array<rung, 4> ladder = {{
        {uapi::setup_single_issuer | uapi::setup_defer_taskrun | taskrun,
         {feature::single_issuer, feature::defer_taskrun}},
        {uapi::setup_single_issuer | uapi::setup_coop_taskrun | taskrun,
         {feature::single_issuer, feature::coop_taskrun}},
        {uapi::setup_coop_taskrun | taskrun, {feature::coop_taskrun}},
        {0, {}},
    }};

    unsigned submissions_wanted = options.submission_entries;
    unsigned completions_wanted = options.completion_entries;
    int error = -EINVAL;
    bool smaller = false;
    for (;;) {
        for (const rung& step : ladder) {
            bool allowed = true;
            for (feature needed : step.needs) {
                allowed = allowed && !options.disable.contains(needed);
            }
            if (!allowed) {
                continue;
            }
            for (const bool submit_all : {true, false}) {
                if (submit_all && options.disable.contains(feature::submit_all)) {
                    continue;
                }
                io_uring_params params{};
                params.flags = base | step.flags | (submit_all ? uapi::setup_submit_all : 0);
                params.cq_entries = completions_wanted;
                error = io_uring_queue_init_params(submissions_wanted, &ring_, &params);
                if (error == 0) {
                    for (feature used : step.needs) {
                        report_.features.insert(used);
                    }
                    if (submit_all) {
                        report_.features.insert(feature::submit_all);
                    }
                    report_.setup_flags = ring_.flags;
                    report_.kernel_features = ring_.features;
                    report_.submission_entries = params.sq_entries;
                    report_.completion_entries = params.cq_entries;
                    if (smaller) {
                        log(log_level::warning,
                            "io_uring_setup: only smaller rings of " +
                                std::to_string(params.sq_entries) + " and " +
                                std::to_string(params.cq_entries) +
                                " entries fit the locked-memory limit (RLIMIT_MEMLOCK); raise it "
                                "with ulimit -l");
                    }
                    constexpr unsigned required = uapi::feat_ext_arg | uapi::feat_nodrop |
                                                  uapi::feat_fast_poll | uapi::feat_submit_stable;
                    if ((ring_.features & required) != required) {
                        io_uring_queue_exit(&ring_);
                        throw_error(
                            errno_code(ENOSYS),
                            "io_uring_setup",
                            "this kernel's io_uring is too old; gyre needs Linux 5.11"
                        );
                    }
                    return;
                }
                if (error != -EINVAL) {
                    break;
                }
            }
            if (error != -EINVAL) {
                break;
            }
        }
        // A small locked-memory limit: smaller rings work as well, only with more calls.
        if (error == -ENOMEM && (submissions_wanted > 8 || completions_wanted > 64)) {
            const unsigned most = submissions_wanted > 64 || completions_wanted > 512 ? 64 : 8;
            submissions_wanted = std::min(submissions_wanted, most);
            completions_wanted = std::min(completions_wanted, most * 8);
            smaller = true;
            continue;
        }
        throw_error(errno_code(-error), "io_uring_setup", setup_help(-error));
    }
}

void uring_engine::map_queues() noexcept {
    static_cast<void>(rings_closed.load(std::memory_order_acquire));
    // With the identity in the index array an entry's place in the ring is its position, so that
    // moving the tail is all there is to queueing.
    if ((ring_.flags & uapi::setup_no_sqarray) == 0) {
        for (unsigned index = 0; index < report_.submission_entries; ++index) {
            ring_.sq.array[index] = index;
        }
    }
    submissions = submission_queue(
        reinterpret_cast<submission*>(ring_.sq.sqes),
        report_.submission_entries,
        ring_.sq.khead,
        ring_.sq.ktail
    );
    completions = completion_queue(
        reinterpret_cast<const completion*>(ring_.cq.cqes),
        report_.completion_entries,
        ring_.cq.khead,
        ring_.cq.ktail
    );
}

// A filter may allow io_uring_setup and forbid io_uring_enter: find out before anything is
// promised.
void uring_engine::prove_enter() {
    submission* nop = submissions.acquire();
    nop->opcode = uapi::op_nop;
    nop->fd = -1;
    nop->user_data = ignored_user_data;
    int answer = raw_enter(1, never);
    while (answer == -EINTR || answer == -EAGAIN) {
        answer = raw_enter(1, never);
    }
    if (answer < 0) {
        throw_error(errno_code(-answer), "io_uring_enter", setup_help(-answer));
    }
    completions.advance(completions.waiting());
}

void uring_engine::probe_opcodes() noexcept {
    constexpr unsigned capacity = 256;
    alignas(io_uring_probe)
        std::byte memory[sizeof(io_uring_probe) + capacity * sizeof(io_uring_probe_op)] = {};
    auto* probe = reinterpret_cast<io_uring_probe*>(memory);
    if (io_uring_register_probe(&ring_, probe, capacity) < 0) {
        return;
    }
    for (unsigned index = 0; index < probe->ops_len && index < uapi::opcode_count; ++index) {
        report_.opcodes[index] = (probe->ops[index].flags & IO_URING_OP_SUPPORTED) != 0;
    }
}

void uring_engine::set_until(engine_time limit) noexcept {
    limit = limit > 0 ? limit : 0;
    until_.tv_sec = limit / 1'000'000'000;
    until_.tv_nsec = limit % 1'000'000'000;
    argument_.ts = reinterpret_cast<std::uintptr_t>(&until_);
}

// Where even the probe is refused there is nothing to go by.
void uring_engine::require_opcodes() const {
    if (report_.opcodes.none()) {
        return;
    }
    for (const std::uint8_t opcode :
         {uapi::op_nop,
          uapi::op_poll_add,
          uapi::op_sendmsg,
          uapi::op_recvmsg,
          uapi::op_accept,
          uapi::op_async_cancel,
          uapi::op_connect,
          uapi::op_read,
          uapi::op_write,
          uapi::op_send,
          uapi::op_recv}) {
        if (!report_.opcodes[opcode]) {
            throw_error(
                errno_code(ENOSYS),
                "io_uring_register",
                "the ring lacks opcode " + std::to_string(opcode) + ", which gyre needs"
            );
        }
    }
}

int uring_engine::raw_enter(unsigned wanted, engine_time deadline) noexcept {
    if (const int fd = pollable_fd_.load(std::memory_order_relaxed); fd >= 0) [[unlikely]] {
        // Before entering: what completes from here on signals it again.
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t taken = ::read(fd, &count, sizeof count);
    }
    submissions.publish();
    unsigned flags = enter_flags_;
    void* extra = nullptr;
    std::size_t extra_size = _NSIG / 8;
    if (wanted != 0 && deadline != never) {
        if (absolute_timer_) {
            flags |= uapi::enter_abs_timer;
            if (deadline != until_for_) { // The earliest deadline is often that of the last time.
                set_until(deadline);
                until_for_ = deadline;
            }
        } else {
            set_until(deadline - monotonic_now());
        }
        flags |= uapi::enter_ext_arg;
        extra = &argument_;
        extra_size = sizeof argument_;
    }
    const int answer = io_uring_enter2(
        static_cast<unsigned>(ring_.enter_ring_fd),
        submissions.queued(),
        wanted,
        flags,
        static_cast<sigset_t*>(extra),
        extra_size
    );
    submissions.refresh();
    return answer;
}

int uring_engine::enter(unsigned wanted, engine_time deadline) noexcept {
    if (event_unarmed_ && !arm_event()) {
        // The queue is full, so the wake-up cannot be armed yet: make room, wait the next time.
        wanted = 0;
    }
    return raw_enter(wanted, deadline);
}

bool uring_engine::arm_event() noexcept {
    submission* poll = submissions.acquire();
    if (poll == nullptr) {
        return false;
    }
    poll->opcode = uapi::op_poll_add;
    poll->fd = event_fd_;
    poll->operation_flags = POLLIN;
    poll->user_data = wake_user_data;
    event_unarmed_ = false;
    return true;
}

void uring_engine::wake() noexcept {
    if (message_wake_) {
        io_uring_sqe message{};
        message.opcode = IORING_OP_MSG_RING;
        message.fd = ring_.ring_fd;
        message.off = wake_user_data;
        // Out of memory is the one way to fail, and a lost wake-up would leave its poster waiting.
        while (io_uring_register(~0U, uapi::register_send_msg_ring, &message, 1) == -ENOMEM) {
            sched_yield();
        }
        return;
    }
    const std::uint64_t one = 1;
    // A full counter (EAGAIN) is a wake-up that is already on its way.
    [[maybe_unused]] ssize_t written = ::write(event_fd_, &one, sizeof one);
    // The write completes a poll in the ring, but from within an eventfd's own wake-up the kernel
    // signals another eventfd late or (seen on 6.18) never.
    if (const int fd = pollable_fd_.load(); fd >= 0) {
        written = ::write(fd, &one, sizeof one);
    }
}

void uring_engine::woken() noexcept {
    if (message_wake_) {
        return;
    }
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t taken = ::read(event_fd_, &count, sizeof count);
    event_unarmed_ = true;
    arm_event(); // At once, where there is room: who polls the descriptor may not enter again.
}

} // namespace

std::unique_ptr<engine> make_uring_engine(const engine_options& options, std::string reason) {
    return std::make_unique<uring_engine>(options, std::move(reason));
}

} // namespace gyre::inline v0::detail
