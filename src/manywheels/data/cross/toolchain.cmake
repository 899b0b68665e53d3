# Compilers and flags are those of the environment (CC, CXX, CFLAGS …), as for every other build system.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_VERSION 1)
set(CMAKE_SYSTEM_PROCESSOR @PROCESSOR@)
set(CMAKE_LIBRARY_ARCHITECTURE @MULTIARCH@)
foreach(tool IN ITEMS AR RANLIB STRIP)
  if(DEFINED ENV{${tool}} AND NOT DEFINED CMAKE_${tool})
    set(CMAKE_${tool} "$ENV{${tool}}" CACHE FILEPATH "")
  endif()
endforeach()

# What is found must be the target's: what the build made, its requirements, and where the caller says that more is.
set(CMAKE_FIND_ROOT_PATH "@ROOTS@")
foreach(name IN ITEMS CMAKE_PREFIX_PATH CMAKE_INCLUDE_PATH CMAKE_LIBRARY_PATH)
  string(REPLACE ":" ";" manywheels_roots "$ENV{${name}}")
  list(APPEND CMAKE_FIND_ROOT_PATH ${manywheels_roots} ${${name}})
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# FindPython asks the interpreter through the emulator below (CMP0190), without that policy only python-config.
foreach(prefix IN ITEMS Python Python3)
  set(${prefix}_INCLUDE_DIR "@INCLUDE@" CACHE PATH "")
  set(${prefix}_SOABI "@SOABI@" CACHE STRING "")
  set(_${prefix}_CONFIG "@CONFIG@" CACHE INTERNAL "")
  set(_${prefix}_CONFIG_LAUNCHER "@CONFIG@" CACHE INTERNAL "")
endforeach()
set(PYTHON_INCLUDE_DIR "@INCLUDE@" CACHE PATH "")
set(PYTHON_MODULE_EXTENSION "@SUFFIX@" CACHE STRING "")
set(PYTHON_MODULE_DEBUG_POSTFIX "" CACHE STRING "")
set(PYTHON_IS_DEBUG OFF CACHE BOOL "")
# pybind11 compares it with CMake's own.
set(PYTHON_SIZEOF_VOID_P "@BITS@" CACHE STRING "")
# Starts this machine's programs, such as the interpreter (CMP0190), and refuses those of the target by name.
set(CMAKE_CROSSCOMPILING_EMULATOR "@RUN@")
