#!/bin/sh
# python-config of the target's Python.
for word in "$@"; do
    case $word in
        --prefix | --exec-prefix) echo @PREFIX@ ;;
        --includes | --cflags) echo -I@INCLUDE@ ;;
        --extension-suffix) echo @SUFFIX@ ;;
        --abiflags) echo @FLAGS@ ;;
        --configdir) echo @LIBPL@ ;;
        --libs | --ldflags) echo ;;
        --embed) ;;
        --help) echo "Usage: $0 --prefix|--exec-prefix|--includes|--libs|--cflags|--ldflags|--extension-suffix|--abiflags|--configdir|--embed" ;;
        *) exit 1 ;;
    esac
done
