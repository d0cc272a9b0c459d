# Cross builds with zig, which brings the headers and stubs of every libc: cmake -DCMAKE_TOOLCHAIN_FILE=cmake/zig.cmake
# -DSEQRISK_ZIG=… -DSEQRISK_ZIG_TARGET=x86_64-linux-gnu.2.17

foreach(name SEQRISK_ZIG SEQRISK_ZIG_TARGET)
  if(NOT DEFINED ${name})
    message(FATAL_ERROR "zig.cmake needs -D${name}=…; npm run prebuild passes it")
  endif()
endforeach()
# Checks of the compiler are projects of their own, which see no variables but these.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SEQRISK_ZIG SEQRISK_ZIG_TARGET)

set(CMAKE_SYSTEM_NAME Linux)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR ${SEQRISK_ZIG_TARGET})
set(CMAKE_CXX_COMPILER ${SEQRISK_ZIG} c++ -target ${SEQRISK_ZIG_TARGET})
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-s")
