#!/bin/sh
# Starts a program for CMake, Meson or a custom command. One that was built for the target may start where the kernel can
# start it; else its name is kept for the end of the build, since who asked may take the failure for an answer.
"$@"
status=$?
case $status in
    126 | 127 | 255) # not this kernel's format; no loader for it; no loader, says qemu
        if [ "$(head -c 4 "$1" 2>/dev/null | tail -c 3)" = ELF ]; then
            echo "manywheels: error: cannot run $1, which was built for" @PLATFORM@ >&2
            [ -z "$MANYWHEELS_REFUSED" ] || echo "$1" >>"$MANYWHEELS_REFUSED"
        fi
        ;;
esac
exit "$status"
