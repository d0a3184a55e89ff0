# Runs `program`; fails unless it exits with `code` and prints what `regex` matches. ctest alone
# could not tell one exit code from another, nor an exit from an abort.

execute_process(
    COMMAND "${program}"
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output
)
message("${output}")
if(NOT result STREQUAL code)
    message(FATAL_ERROR "expected exit code ${code}, got: ${result}")
endif()
if(NOT output MATCHES "${regex}")
    message(FATAL_ERROR "expected output that matches: ${regex}")
endif()
