# The three kinds of tests.

set(GYRE_TEST_TIMEOUT 60)
if(GYRE_SANITIZE)
    set(GYRE_TEST_TIMEOUT 240)
endif()

# The engines that behavioural tests run on.
set(GYRE_TEST_ENGINES uring epoll blocking)

# gyre_test(NAME LAYER [ENGINES] SOURCES ...): a doctest program; ctest knows each of its cases by
# "suite: case", labelled with the layer and with each part of the suite's name. With ENGINES, what
# it tests depends on the engine: each case runs on each of them, as "suite: case (engine)", with
# the engine as a further label.
function(gyre_test name layer)
    cmake_parse_arguments(PARSE_ARGV 2 arg "ENGINES" "" SOURCES)
    set(engines "")
    if(arg_ENGINES)
        set(engines ${GYRE_TEST_ENGINES})
    endif()
    add_executable(${name} ${arg_SOURCES})
    gyre_target(${name})
    target_include_directories(
        ${name}
        PRIVATE
            "${PROJECT_SOURCE_DIR}" # "samples/..."
            "${PROJECT_SOURCE_DIR}/lib" # the library's private headers
            "${PROJECT_SOURCE_DIR}/test" # "support/..."
    )
    target_link_libraries(
        ${name}
        PRIVATE gyre::gyre gyre_test_main doctest::doctest PkgConfig::LIBURING
    )

    set(cases "${CMAKE_CURRENT_BINARY_DIR}/${name}_cases.cmake")
    file(
        GENERATE
        OUTPUT "${cases}"
        CONTENT
            "set(program [[$<TARGET_FILE:${name}>]])
set(layer ${layer})
set(engines [[${engines}]])
set(timeout ${GYRE_TEST_TIMEOUT})
include([[${PROJECT_SOURCE_DIR}/cmake/discover_cases.cmake]])
"
    )
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${cases}")
endfunction()

# gyre_exit_test(NAME LAYER SOURCE CODE REGEX): a program that must end with this exit code and
# print, on stdout or stderr, what REGEX matches. The ctest name is the target's, NAME.
function(gyre_exit_test name layer source code regex)
    add_executable(${name} ${source})
    gyre_target(${name})
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/test")
    target_link_libraries(${name} PRIVATE gyre::gyre)
    add_test(
        NAME ${name}
        COMMAND
            ${CMAKE_COMMAND} -D "program=$<TARGET_FILE:${name}>" -D "code=${code}" -D
            "regex=${regex}" -P "${PROJECT_SOURCE_DIR}/cmake/expect_exit.cmake"
    )
    set_tests_properties(${name} PROPERTIES LABELS ${layer} TIMEOUT ${GYRE_TEST_TIMEOUT})
endfunction()

# gyre_compile_fail_test(NAME LAYER SOURCE REGEX): a source that compiles as it stands, and that
# with GYRE_MUST_NOT_COMPILE defined draws an error that REGEX matches. A discarded [[nodiscard]]
# counts as an error in both.
function(gyre_compile_fail_test name layer source regex)
    set(compile
        ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only -Werror=unused-result
        "-I${PROJECT_SOURCE_DIR}/include" "-I${PROJECT_SOURCE_DIR}/test"
        "${CMAKE_CURRENT_SOURCE_DIR}/${source}"
    )
    add_test(NAME ${name}_control COMMAND ${compile})
    add_test(NAME ${name} COMMAND ${compile} -DGYRE_MUST_NOT_COMPILE)
    set_tests_properties(${name} PROPERTIES PASS_REGULAR_EXPRESSION "error: [^\n]*(${regex})")
    set_tests_properties(
        ${name} ${name}_control PROPERTIES LABELS ${layer} TIMEOUT ${GYRE_TEST_TIMEOUT}
    )
endfunction()
