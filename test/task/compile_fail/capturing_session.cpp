// gcc 12 destroys the captures of a lambda that is a temporary in an expression that awaits twice:
// serve refuses it there.

#include <gyre/io/serve.hpp>

#include <string>

gyre::task<> greet(gyre::listener& from, std::string text) {
#ifdef GYRE_MUST_NOT_COMPILE
    co_await gyre::serve(from, [text](gyre::stream) -> gyre::task<> { co_return; });
#else
    auto session = [text](gyre::stream) -> gyre::task<> { co_return; };
    co_await gyre::serve(from, session);
    co_await gyre::serve(from, [](gyre::stream) -> gyre::task<> { co_return; });
#endif
}
