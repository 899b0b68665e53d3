#!/bin/sh
# There is no strip on this machine. What these compilers link is stripped already: only a copy is left to make.
out='' in='' next=''
for arg in "$@"; do
    if [ "$next" ]; then
        out=$arg next=''
        continue
    fi
    case $arg in
        -o) next=1 ;;
        -*) ;;
        *) in=$arg ;;
    esac
done
[ ! "$out" ] || exec cp "$in" "$out"
