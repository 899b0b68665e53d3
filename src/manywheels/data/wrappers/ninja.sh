#!/bin/sh
# This ninja is older than 1.13 and does not see the jobserver: it gets a number of jobs instead.
case $MAKEFLAGS in
    *--jobserver-auth=fifo:*)
        for arg in "$@"; do
            case $arg in -j*) exec @REAL@ "$@" ;; esac
        done
        exec @REAL@ -j@JOBS@ "$@" ;;
esac
exec @REAL@ "$@"
