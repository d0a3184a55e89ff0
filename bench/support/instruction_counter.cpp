// instruction_counter.cpp: what a running process executes in user space while a command runs.
//
//   instruction_counter --pid PID [--what instructions|syscalls] [--method automatic|hardware|step]
//                       [--limit SECONDS] -- COMMAND ARGUMENT...
//
// `instructions` asks the processor's counter through perf_event_open(2). Many virtual machines
// have none; there the process is single-stepped with ptrace(2) and its steps are counted, which is
// exact and some thousand times slower. A repeated string instruction counts once per repetition
// when stepped, once in all by most hardware. `syscalls` stops the process at every system call and
// counts them, io_uring_enter(2) apart. Both look from outside, so that two servers are measured
// alike whatever they say about themselves.
//
// What one request costs is the difference of two runs with different numbers of requests: what
// connecting and closing cost is in both. The process may see EINTR when the tracer lets go of it.
//
// A command may name a stretch of its run itself: it sends SIGUSR1 to its parent when that begins
// and again when it ends, as echo_load does when asked to. What system calls there were in between
// is printed as well.
//
// Prints one `name=value` a line; the command's own output goes to stderr. Ends with the command's
// exit code.

#include "support/options.hpp"

#include <dirent.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr const char* usage =
    "usage: instruction_counter --pid PID [--what instructions|syscalls]\n"
    "                           [--method automatic|hardware|step] [--limit SECONDS] -- "
    "COMMAND...\n";

enum class method { automatic, hardware, step };

void say(const char* what) {
    std::fprintf(stderr, "instruction_counter: %s: %s\n", what, std::strerror(errno));
}

[[noreturn]] void fail(const char* what) {
    say(what);
    std::exit(125);
}

std::vector<pid_t> threads_of(pid_t process) {
    std::vector<pid_t> threads;
    std::string path = "/proc/" + std::to_string(process) + "/task";
    DIR* folder = ::opendir(path.c_str());
    if (folder == nullptr) {
        return threads;
    }
    while (const dirent* entry = ::readdir(folder)) {
        if (pid_t thread = std::atoi(entry->d_name); thread > 0) {
            threads.push_back(thread);
        }
    }
    ::closedir(folder);
    return threads;
}

pid_t start(char** command) {
    pid_t child = ::fork();
    if (child < 0) {
        fail("fork");
    }
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::dup2(STDERR_FILENO, STDOUT_FILENO);
        ::execvp(command[0], command);
        say(command[0]);
        ::_exit(127);
    }
    return child;
}

int exit_code(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

volatile std::sig_atomic_t asked_to_end = 0;
volatile std::sig_atomic_t marks_seen = 0; // by the command, of the stretch it names

void on_end(int /*signal*/) {
    asked_to_end = 1;
}

void on_mark(int /*signal*/) {
    marks_seen = marks_seen + 1;
}

void take_marks() {
    struct sigaction action = {};
    action.sa_handler = on_mark;
    ::sigaction(SIGUSR1, &action, nullptr);
}

// Without SA_RESTART, so that a wait ends; and again every second, should the first have come just
// before the wait.
void end_after(unsigned seconds) {
    struct sigaction action = {};
    action.sa_handler = on_end;
    for (int signal : {SIGALRM, SIGTERM, SIGINT}) {
        ::sigaction(signal, &action, nullptr);
    }
    itimerval timer = {};
    timer.it_value.tv_sec = seconds;
    timer.it_interval.tv_sec = 1;
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

// --- By hardware ---

class hardware_counter {
public:
    hardware_counter() = default;
    hardware_counter(const hardware_counter&) = delete;
    hardware_counter& operator=(const hardware_counter&) = delete;

    ~hardware_counter() {
        for (int fd : fds_) {
            ::close(fd);
        }
    }

    bool open(pid_t process) {
        perf_event_attr attributes = {};
        attributes.size = sizeof attributes;
        attributes.type = PERF_TYPE_HARDWARE;
        attributes.config = PERF_COUNT_HW_INSTRUCTIONS;
        attributes.exclude_kernel = 1;
        attributes.exclude_hv = 1;
        attributes.inherit = 1;
        attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
        for (pid_t thread : threads_of(process)) {
            long fd =
                ::syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
            if (fd >= 0) {
                fds_.push_back(static_cast<int>(fd));
            } else if (thread == process) {
                return false;
            }
        }
        return !fds_.empty();
    }

    [[nodiscard]] std::uint64_t read() const {
        double total = 0;
        for (int fd : fds_) {
            std::array<std::uint64_t, 3> values = {}; // count, time enabled, time running
            if (::read(fd, values.data(), sizeof values) != static_cast<ssize_t>(sizeof values)) {
                fail("read of a performance counter");
            }
            // The kernel takes turns when others count as well, and says for how long it counted.
            double scale =
                values[2] > 0 ? static_cast<double>(values[1]) / static_cast<double>(values[2]) : 0;
            total += static_cast<double>(values[0]) * scale;
        }
        return static_cast<std::uint64_t>(total);
    }

private:
    std::vector<int> fds_;
};

int count_by_hardware(const hardware_counter& counter, char** command) {
    std::uint64_t before = counter.read();
    int status = 0;
    pid_t child = start(command);
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
        if (asked_to_end != 0) {
            ::kill(child, SIGKILL);
        }
    }
    std::printf(
        "instructions=%llu\nmethod=hardware\n",
        static_cast<unsigned long long>(counter.read() - before)
    );
    return exit_code(status);
}

// --- By ptrace ---

enum class stepping { instructions, syscalls };

// The start of what PTRACE_GET_SYSCALL_INFO writes at the entry of a system call. The C libraries
// do not agree on a name for it.
struct syscall_entry {
    std::uint8_t kind;
    std::uint8_t pad[3];
    std::uint32_t architecture;
    std::uint64_t instruction_pointer;
    std::uint64_t stack_pointer;
    std::uint64_t number;
};

class tracer {
public:
    tracer(pid_t process, stepping what) : process_(process), what_(what) { attach(); }

    /// Runs the command and counts; the traced process goes on alone afterwards.
    int count(char** command) {
        take_marks();
        pid_t child = start(command);
        share_processor();
        int outcome = 1;
        bool ending = false;
        while (!tracees_.empty()) {
            if (asked_to_end != 0 && !ending) {
                // Die at once, and the process that was traced would die of its next trap.
                ::kill(child, SIGKILL);
                outcome = 124;
                ending = true;
                interrupt_all();
            }
            note_marks();
            int status = 0;
            pid_t thread = ::waitpid(-1, &status, __WALL);
            if (thread < 0) {
                if (errno == EINTR) {
                    continue;
                }
                break;
            }
            if (thread == child) {
                if (WIFEXITED(status) || WIFSIGNALED(status)) {
                    outcome = ending ? outcome : exit_code(status);
                    ending = true;
                    interrupt_all();
                }
            } else if (!WIFSTOPPED(status)) {
                forget(thread);
            } else if (ending) {
                let_go(thread, status);
            } else {
                go_on(thread, status);
            }
        }
        return outcome;
    }

    void print() const {
        if (what_ == stepping::instructions) {
            std::printf("instructions=%llu\nmethod=step\n", steps_);
        } else {
            std::printf("syscalls=%llu\nenters=%llu\nmethod=trace\n", syscalls_, enters_);
            if (marks_noted_ == 2) {
                std::printf("stretch_syscalls=%llu\n", stretch_);
            }
        }
    }

private:
    // A thread is let go of in two stops. At the first, the last step may have left a trap behind,
    // which would kill the process once nobody takes it. From there it goes on without stepping,
    // the trap is taken, and a stop with none pending is the one to detach at.
    struct tracee {
        pid_t thread;
        bool interrupted_once = false;
    };

    void note_marks() {
        while (marks_noted_ < marks_seen && marks_noted_ < 2) {
            // What was counted at the first is taken from what was counted at the second.
            stretch_ = syscalls_ - stretch_;
            ++marks_noted_;
        }
    }

    void attach() {
        for (pid_t thread : threads_of(process_)) {
            // The kernel's own workers of a ring are listed as threads and cannot be traced.
            auto options = static_cast<std::uintptr_t>(PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD);
            if (::ptrace(PTRACE_SEIZE, thread, nullptr, options) == 0) {
                ::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
                tracees_.push_back({.thread = thread});
            } else if (thread == process_) {
                fail("ptrace");
            }
        }
        if (tracees_.empty()) {
            errno = ESRCH;
            fail("ptrace");
        }
    }

    void interrupt_all() const {
        for (const tracee& each : tracees_) {
            ::ptrace(PTRACE_INTERRUPT, each.thread, nullptr, nullptr);
        }
    }

    // Tracer and traced process alternate, which on one processor needs no wake-up of another.
    void share_processor() const {
        cpu_set_t set;
        if (::sched_getaffinity(process_, sizeof set, &set) == 0) {
            ::sched_setaffinity(0, sizeof set, &set);
        }
    }

    static bool is_event(int status) { return status >> 16 != 0; }
    static bool is_syscall(int status) { return WSTOPSIG(status) == (SIGTRAP | 0x80); }
    static bool is_step(int status) { return !is_event(status) && WSTOPSIG(status) == SIGTRAP; }

    // The signal that the traced process is to see: none that the tracing itself raised.
    static std::uintptr_t passed_on(int status) {
        bool ours = is_event(status) || is_syscall(status) || is_step(status);
        return ours ? 0 : static_cast<std::uintptr_t>(WSTOPSIG(status));
    }

    void go_on(pid_t thread, int status) {
        if (find(thread) == tracees_.end()) {
            tracees_.push_back({.thread = thread}); // a thread that the process has made meanwhile
        }
        if (is_step(status)) {
            ++steps_;
            if (steps_ % 4096 == 0) {
                make_room();
            }
        } else if (is_syscall(status)) {
            count_syscall(thread);
        }
        auto request = what_ == stepping::instructions ? PTRACE_SINGLESTEP : PTRACE_SYSCALL;
        ::ptrace(request, thread, nullptr, passed_on(status));
    }

    // Two processes that wake each other some hundred thousand times a second can keep everything
    // else off their processor, the kernel's own threads included; seen on a virtual machine.
    static void make_room() {
        timespec moment = {.tv_sec = 0, .tv_nsec = 500'000};
        ::nanosleep(&moment, nullptr);
    }

    void count_syscall(pid_t thread) {
        syscall_entry entry = {};
        long size = ::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof entry, &entry);
        if (size > 0 && entry.kind == PTRACE_SYSCALL_INFO_ENTRY) {
            ++syscalls_;
            if (entry.number == SYS_io_uring_enter) {
                ++enters_;
            }
        }
    }

    void let_go(pid_t thread, int status) {
        auto found = find(thread);
        if (found != tracees_.end() && is_event(status) && found->interrupted_once &&
            !trap_is_pending(thread)) {
            ::ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
            tracees_.erase(found);
            return;
        }
        if (found != tracees_.end() && is_event(status)) {
            found->interrupted_once = true;
        }
        ::ptrace(PTRACE_CONT, thread, nullptr, passed_on(status));
        ::sched_yield();
        // Again also after a stop of another kind, since that takes a pending interrupt with it.
        ::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
    }

    static bool trap_is_pending(pid_t thread) {
        std::array<siginfo_t, 8> pending = {};
        __ptrace_peeksiginfo_args which = {.off = 0, .flags = 0, .nr = pending.size()};
        long count = ::ptrace(PTRACE_PEEKSIGINFO, thread, &which, pending.data());
        return std::any_of(pending.begin(), pending.begin() + std::max(count, 0L), [](auto& each) {
            return each.si_signo == SIGTRAP;
        });
    }

    std::vector<tracee>::iterator find(pid_t thread) {
        return std::find_if(tracees_.begin(), tracees_.end(), [thread](const tracee& each) {
            return each.thread == thread;
        });
    }

    void forget(pid_t thread) {
        if (auto found = find(thread); found != tracees_.end()) {
            tracees_.erase(found);
        }
    }

    pid_t process_;
    stepping what_;
    std::vector<tracee> tracees_;
    unsigned long long steps_ = 0;
    unsigned long long syscalls_ = 0;
    unsigned long long enters_ = 0;
    unsigned long long stretch_ = 0;
    int marks_noted_ = 0;
};

} // namespace

int main(int argc, char** argv) {
    pid_t process = 0;
    auto how = method::automatic;
    auto what = stepping::instructions;
    unsigned limit = 300;
    char** command = nullptr;
    bench::options options(argc, argv, usage);
    while (command == nullptr && options.next()) {
        if (options.is("--pid")) {
            process = options.number<pid_t>(1, INT_MAX);
        } else if (options.is("--limit")) {
            limit = options.number(1U, 86400U);
        } else if (options.is("--what")) {
            std::string_view name = options.text();
            if (name != "instructions" && name != "syscalls") {
                options.fail("has a value that is not known");
            }
            what = name == "syscalls" ? stepping::syscalls : stepping::instructions;
        } else if (options.is("--method")) {
            std::string_view name = options.text();
            if (name != "automatic" && name != "hardware" && name != "step") {
                options.fail("has a value that is not known");
            }
            how = name == "hardware" ? method::hardware
                  : name == "step"   ? method::step
                                     : method::automatic;
        } else if (options.is("--")) {
            command = options.rest();
        } else {
            options.unknown();
        }
    }
    if (process == 0 || command == nullptr || command[0] == nullptr) {
        std::fputs(usage, stderr);
        return 2;
    }
    end_after(limit);
    if (what == stepping::instructions && how != method::step) {
        hardware_counter counter;
        if (counter.open(process)) {
            return count_by_hardware(counter, command);
        }
        if (how == method::hardware) {
            fail("perf_event_open");
        }
    }
    tracer tracing(process, what);
    int outcome = tracing.count(command);
    if (asked_to_end != 0) {
        std::fputs("instruction_counter: ended before the command\n", stderr);
        return outcome;
    }
    tracing.print();
    return outcome;
}
