// The smallest program that uses gyre: the loop starts, a task runs on it, its result is the exit
// code.
#include <gyre/gyre.hpp>

#include <cstdio>

int main() {
    std::printf("gyre %s\n", gyre::version);
    return gyre::run([]() -> gyre::task<int> { co_return 0; });
}
