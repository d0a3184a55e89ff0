// or_return returns an error to the caller of its task, which must yield a result.

#include <gyre/task/or_return.hpp>
#include <gyre/task/sleep.hpp>

#include <chrono>

#ifdef GYRE_MUST_NOT_COMPILE
gyre::task<int> nap() {
    co_await gyre::or_return(gyre::sleep_for(std::chrono::seconds(1)));
    co_return 1;
}
#else
gyre::task<gyre::result<int>> nap() {
    co_await gyre::or_return(gyre::sleep_for(std::chrono::seconds(1)));
    co_return 1;
}
#endif
