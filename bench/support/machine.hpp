// Where a benchmark ran: the lines that stand beside its numbers.
#pragma once

#include <sched.h>
#include <sys/utsname.h>

#include <fstream>
#include <string>
#include <thread>

namespace bench {

struct machine {
    std::string processor;
    unsigned processors = 0;
    std::string kernel;
    std::string compiler;
    std::string flags;        // it was given
    std::string load_average; // over the last minute, before the benchmark
};

inline machine this_machine() {
    machine here;
    std::ifstream information("/proc/cpuinfo");
    for (std::string line; std::getline(information, line);) {
        if (line.rfind("model name", 0) == 0) {
            here.processor = line.substr(line.find(':') + 2);
            break;
        }
    }
    here.processors = std::thread::hardware_concurrency();
    utsname names = {};
    ::uname(&names);
    if (here.processor.empty()) {
        here.processor = names.machine;
    }
    here.kernel = std::string(names.sysname) + " " + names.release + " " + names.machine;
#if defined(__clang__)
    here.compiler = "clang " __clang_version__;
#else
    here.compiler = "gcc " __VERSION__;
#endif
#if defined(__OPTIMIZE__)
    here.compiler += ", optimized";
#else
    here.compiler += ", NOT optimized";
#endif
#if !defined(NDEBUG)
    here.compiler += ", assertions on";
#endif
#if defined(GYRE_BENCH_FLAGS)
    here.flags = GYRE_BENCH_FLAGS;
#endif
    std::ifstream("/proc/loadavg") >> here.load_average;
    return here;
}

} // namespace bench
