// gcc 12 destroys the captures of a lambda that is a temporary in an expression that awaits twice:
// with_scope refuses it there.

#include <gyre/task/scope.hpp>

#include <string>

gyre::task<std::size_t> size_of(std::string text) {
#ifdef GYRE_MUST_NOT_COMPILE
    const std::size_t size =
        co_await gyre::with_scope([text](gyre::scope&) -> gyre::task<std::size_t> {
            co_return text.size();
        });
#else
    auto body = [text](gyre::scope&) -> gyre::task<std::size_t> { co_return text.size(); };
    const std::size_t size = co_await gyre::with_scope(body);
    co_await gyre::with_scope([&](gyre::scope&) -> gyre::task<> { co_return; });
#endif
    co_return size;
}
