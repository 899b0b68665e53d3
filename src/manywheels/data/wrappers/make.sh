#!/bin/sh
# This make is older than 4.4 and stops with an error at a jobserver that is a FIFO: it gets a number of jobs instead.
case $MAKEFLAGS in
    *--jobserver-auth=fifo:*)
        kept='' plain=-j@JOBS@
        for flag in $MAKEFLAGS; do
            case $flag in
                --jobserver-auth=* | -j* | --) ;;
                *) kept="$kept $flag" ;;
            esac
        done
        export MAKEFLAGS="${kept# }"
        for arg in "$@"; do
            case $arg in -j* | --jobs*) plain='' ;; esac
        done
        exec @REAL@ $plain "$@" ;;
esac
exec @REAL@ "$@"
