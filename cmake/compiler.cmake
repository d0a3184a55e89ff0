# Which compilers can build gyre, and what to know about one of them.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(floor 12)
elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    set(floor 16) # older ones do not compile C++20 coroutines from <coroutine> correctly
else()
    message(WARNING "gyre is tested with g++ and clang++ only, not with ${CMAKE_CXX_COMPILER_ID}")
    set(floor 0)
endif()

if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS floor)
    message(
        FATAL_ERROR
        "gyre needs g++ 12 or clang++ 16, and ${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_ID} "
        "${CMAKE_CXX_COMPILER_VERSION}. Where several are installed, name one in a fresh build "
        "directory: -DCMAKE_CXX_COMPILER=clang++-19"
    )
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    message(
        STATUS
        "gyre: g++ 12 miscompiles some uses of co_await; "
        "docs/guide/coroutine-hazards.md shows them and what to write instead"
    )
endif()

# Without a build type CMake would compile without optimization and without debug information.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Debug or RelWithDebInfo" FORCE)
endif()
