// A task yields values: a reference into its frame would dangle when its caller goes on.

#include <gyre/task/task.hpp>

int number = 1;

#ifdef GYRE_MUST_NOT_COMPILE
gyre::task<int&> pick() {
    co_return number;
}
#else
gyre::task<int*> pick() {
    co_return &number;
}
#endif
