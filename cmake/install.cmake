# `cmake --install` gives headers, library, gyreConfig.cmake and gyre.pc. All of them find their
# place from where they are, so the installed tree can be moved.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/gyre")
set(pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

install(TARGETS gyre EXPORT gyreTargets FILE_SET HEADERS)
install(EXPORT gyreTargets NAMESPACE gyre:: DESTINATION "${config_dir}")

configure_package_config_file(
    cmake/gyreConfig.cmake.in gyreConfig.cmake
    INSTALL_DESTINATION "${config_dir}"
    NO_SET_AND_CHECK_MACRO
)
# Before 1.0 a minor version may break what the one before it promised.
write_basic_package_version_file(gyreConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
    FILES
        "${CMAKE_CURRENT_BINARY_DIR}/gyreConfig.cmake"
        "${CMAKE_CURRENT_BINARY_DIR}/gyreConfigVersion.cmake"
    DESTINATION "${config_dir}"
)

# From the directory of gyre.pc back to the prefix.
file(RELATIVE_PATH up "/prefix/${pkgconfig_dir}" "/prefix")
configure_file(cmake/gyre.pc.in gyre.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/gyre.pc" DESTINATION "${pkgconfig_dir}")
