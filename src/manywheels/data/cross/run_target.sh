#!/bin/sh
# Starts this machine's programs; those of the target, which a build made and wants to run, are refused by name.
case $(head -c 20 "$1" 2>/dev/null | od -An -c | head -n 1) in
    *'177   E   L   F'*) ;;
    *) exec "$@" ;;
esac
"$@"
status=$?
if [ "$status" = 126 ] || [ "$status" = 127 ]; then
    echo "manywheels: error: cannot run $1, which was built for" @PLATFORM@ >&2
fi
exit "$status"
