#pragma once

#include <type_traits>

/// Refuses on gcc 12 what that compiler gets wrong: in an expression that awaits, it destroys the
/// captures of a lambda that is a temporary twice. `Callable` is deduced from a forwarding
/// reference.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define GYRE_CALLABLE_IS_SAFE(Callable)                                                            \
    static_assert(                                                                                 \
        std::is_lvalue_reference_v<Callable> || std::is_trivially_destructible_v<Callable>,        \
        "gcc 12 destroys the captures of this temporary twice: give the lambda a name first"       \
    )
#else
#define GYRE_CALLABLE_IS_SAFE(Callable) static_assert(true)
#endif
