# Read by ctest before it runs anything, once for each test program: asks the program for its
# cases, so that a case becomes known by being built. Expects program, layer, engines and timeout.
cmake_policy(VERSION 3.24)

# The program answers with a line of gyre_case(SUITE CASE SECONDS) for each of its cases; SECONDS
# is its doctest::timeout decorator, or 0.
function(gyre_case suite case seconds)
    set(name "${suite}: ${case}")
    string(REPLACE "/" ";" labels "${layer}/${suite}")
    list(REMOVE_DUPLICATES labels)

    if(seconds GREATER timeout)
        set(timeout ${seconds})
    endif()
    if("$ENV{GYRE_TEST_LONG}")
        math(EXPR timeout "${timeout} * 60")
    endif()

    if(NOT engines)
        gyre_add_case("${name}" "${name}" "${labels}" ${timeout})
        return()
    endif()
    foreach(engine IN LISTS engines)
        gyre_add_case("${name} (${engine})" "${name}" "${labels};${engine}" ${timeout})
        # The first is for test::engines(), the second for schedulers made without options.
        set_tests_properties(
            "${name} (${engine})"
            PROPERTIES ENVIRONMENT "GYRE_TEST_ENGINE=${engine};GYRE_ENGINE=${engine}"
        )
    endforeach()
endfunction()

function(gyre_add_case test name labels timeout)
    add_test("${test}" "${program}" "--gyre-case=${name}")
    set_tests_properties(
        "${test}"
        PROPERTIES LABELS "${labels}" TIMEOUT ${timeout} SKIP_RETURN_CODE 77
    )
    if("timing" IN_LIST labels) # such a case measures time, so it runs alone
        set_tests_properties("${test}" PROPERTIES RUN_SERIAL TRUE)
    endif()
endfunction()

execute_process(
    COMMAND "${program}" --gyre-list
    OUTPUT_VARIABLE cases
    ERROR_VARIABLE ignored
    RESULT_VARIABLE failed
)
if(failed)
    # Not built, or it cannot even start: a test that fails and shows why.
    add_test("${program}" "${program}" --gyre-list)
else()
    cmake_language(EVAL CODE "${cases}")
endif()
