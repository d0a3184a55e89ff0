# GYRE_SANITIZE holds for everything below this directory: the library, tests, samples, benchmarks.

if(GYRE_SANITIZE)
    add_compile_options(
        -fsanitize=${GYRE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g
    )
    add_link_options(-fsanitize=${GYRE_SANITIZE})
endif()
