# gyre_target(NAME): what all our own targets share. It is private to each, so that a consumer
# inherits none of it.

function(gyre_target name)
    set_target_properties(
        ${name}
        PROPERTIES CXX_EXTENSIONS OFF COMPILE_WARNING_AS_ERROR ${GYRE_WERROR}
    )
    target_compile_options(
        ${name}
        PRIVATE
            -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wsign-conversion
            -Wdouble-promotion
            -Wold-style-cast
            -Wcast-align
            -Wnon-virtual-dtor
            -Woverloaded-virtual
            -Wextra-semi
            -Wundef
    )
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        target_compile_options(${name} PRIVATE -Wduplicated-cond -Wlogical-op)
    endif()
endfunction()
