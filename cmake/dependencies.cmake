# What gyre is built on. Imported targets count as system headers, so none of them warns. They are
# global because whoever adds gyre with add_subdirectory links them through gyre, one directory up.

find_package(Threads REQUIRED GLOBAL)

if(NOT TARGET fmt::fmt)
    find_package(fmt REQUIRED GLOBAL)
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBURING REQUIRED IMPORTED_TARGET GLOBAL "liburing>=2.3")

if(GYRE_BUILD_TESTS)
    find_package(doctest REQUIRED)
endif()
