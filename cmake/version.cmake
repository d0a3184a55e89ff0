# The version stands in two places, project() and version.hpp: they must agree.

set(version_header "${PROJECT_SOURCE_DIR}/include/gyre/version.hpp")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${version_header}")
file(READ "${version_header}" text)

foreach(part MAJOR MINOR PATCH)
    if(NOT text MATCHES "#define GYRE_VERSION_${part} ${PROJECT_VERSION_${part}}\n")
        message(FATAL_ERROR "${version_header}: GYRE_VERSION_${part} is not of ${PROJECT_VERSION}")
    endif()
endforeach()
if(NOT text MATCHES "#define GYRE_VERSION_STRING \"${PROJECT_VERSION}\"")
    message(FATAL_ERROR "${version_header}: GYRE_VERSION_STRING is not ${PROJECT_VERSION}")
endif()
