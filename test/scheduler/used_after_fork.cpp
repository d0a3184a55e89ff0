// A scheduler that a child process inherited refuses to run there.

#include <gyre/gyre.hpp>

#include <csignal>
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

int main() {
    gyre::scheduler inherited;
    inherited.turn();
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGABRT, [](int) { ::_exit(70); });
        inherited.turn();
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    inherited.turn(); // The parent's still runs.
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
