#!/bin/sh
# A compiler as builds see it, written by manywheels for one run. Three things are its business: what is linked links
# for the policy's libc, nothing of the building machine's paths gets into the result, and flags that an interpreter's
# sysconfig brings along (they suited the compiler that it was built with) do no harm here.
kind=@KIND@ real=@REAL@ bin=@BIN@ mode=@MODE@ arch=@ARCH@ target=@TARGET@

# The real compiler, or a ccache before it, must not find this wrapper again.
path=:$PATH:
case $path in *:"$bin":*) path=${path%%:"$bin":*}:${path#*:"$bin":} ;; esac
path=${path#:} PATH=${path%:}
[ "$kind" = system ] || export ZIG_GLOBAL_CACHE_DIR=@GLOBAL_CACHE@ ZIG_LOCAL_CACHE_DIR=@LOCAL_CACHE@

set -f
newline='
'
case " $*" in
    *" @"*) # response files are read here, since what is in them needs the same care
        left=$#
        while [ "$left" -gt 0 ]; do
            arg=$1 left=$((left - 1))
            shift
            case $arg in
                @*) if [ -r "${arg#@}" ]; then
                        IFS=$newline
                        set -- "$@" $(xargs printf '%s\n' <"${arg#@}")
                        unset IFS
                        continue
                    fi ;;
            esac
            set -- "$@" "$arg"
        done ;;
esac

# --- what the command is: a question, a compilation or a link, and of what -------------------------------------------
step=link inputs='' sources='' optimised='' shared='' libpython='' cmake='' value='' stdin='' language='' verbose=''
cxx_runtime=@CXX_RUNTIME@ cxx_source='' bound='' no_defaults=''
[ ! "$MANYWHEELS_CXX_STATIC" ] || cxx_runtime=''
for arg in "$@"; do
    if [ "$value" ]; then
        value=''
        continue
    fi
    case $arg in
        -c | -S | -E | -M | -MM | -fsyntax-only) step=compile ;;
        -shared) shared=1 ;;
        -O*) optimised=1 ;;
        -lpython*) libpython=1 ;;
        -) inputs=1 sources=1 stdin=1 ;;
        -o | -x | -MF | -MT | -MQ | -I | -isystem | -iquote | -idirafter | -include | -imacros | -D | -U | -L | -u | \
            -z | -T | -l | -Xlinker | -Xclang | -Xpreprocessor | -Xassembler | -mllvm | --param | -target | \
            -isysroot | --sysroot | -B | -R) value=1 ;;
        -*) ;;
        *.c | *.cc | *.cpp | *.cxx | *.c++ | *.C | *.CPP | *.cp | *.i | *.ii | *.s | *.S) inputs=1 sources=1 ;;
        *) inputs=1 ;;
    esac
    case $arg in
        *CMakeFiles/*.dir/*) cmake=1 ;;
        -x*) language=1 ;;
        -v) verbose=1 ;;
        *.cc | *.cpp | *.cxx | *.c++ | *.C | *.CPP | *.cp | *.ii | -xc++) cxx_source=1 ;;
        -static | -static-pie | -static-libstdc++ | -r) cxx_runtime='' ;; # left to zig
        -nostdlib* | -nodefaultlibs) no_defaults=1 ;; # as rustc, which then names each library
        *-Bstatic*) bound=static ;;
        *-Bdynamic*) bound='' ;;
        -lstdc++ | -lc++ | -lc++abi | -lsupc++) [ ! "$bound" ] || cxx_runtime='' ;;
    esac
done

case " $* " in *" -x c++ "*) cxx_source=1 ;; esac

if [ ! "$inputs" ]; then
    [ "$kind" = system ] && exec "$real" "$@"
    case " $* " in
        *" -Wl,--version "* | *" -Wl,-v "*) exec "$real" ld.lld --version ;;
        *" -print-multiarch "*) echo "$arch-linux-gnu" && exit ;;
        *" -dumpfullversion "*) exec "$real" "$mode" -target "$arch-linux-gnu" -dumpversion ;;
    esac
    exec "$real" "$mode" -target "$arch-linux-gnu" "$@" # clang itself does not know zig's spelling with a glibc version
fi

# --- run paths and what zig's linker does not know -------------------------------------------------------------------
word_next='' out=''
emit() { out=$out,$1; }

rpath() { # An absolute path is the building machine's. CMake replaces its own at installation, and must find them then.
    if [ "$cmake" ]; then
        emit -rpath
        emit "$1"
        return
    fi
    kept='' IFS=:
    for part in $1; do
        case $part in /* | '') ;; *) kept=$kept:$part ;; esac
    done
    IFS=,
    [ "$kept" ] && emit -rpath && emit "${kept#:}"
}

linker_word() {
    case $word_next in
        rpath)
            word_next=''
            rpath "$1"
            return ;;
        drop) word_next='' && return ;;
        z)
            word_next=''
            case $1 in
                now | lazy | relro | norelro | defs | undefs | origin | nodelete | noexecstack | execstack | notext | \
                    nocopyreloc | *-page-size=*)
                    emit -z && emit "$1" ;;
            esac
            return ;;
    esac
    case $1 in
        -rpath | --rpath | -R) word_next=rpath && return ;;
        -rpath=* | --rpath=*)
            rpath "${1#*=}"
            return ;;
        -R?*)
            rpath "${1#-R}"
            return ;;
    esac
    [ "$kind" = system ] && emit "$1" && return
    case $1 in
        -z) word_next=z ;;
        -h) emit -soname ;;
        --undefined=*) emit -u && emit "${1#*=}" ;;
        --version-script*) emit "$1" && version_script=1 ;;
        --pop-state) emit --no-whole-archive && emit -Bdynamic ;;
        -Map | --exclude-libs | --thread-count) word_next=drop ;;
        # Optimisations, diagnostics and size: without them the result does the same.
        -Map=* | --exclude-libs=* | -Bsymbolic-functions | --push-state | --*copy-dt-needed-entries | --icf=* | \
            --warn-* | --no-relax | --relax | -plugin* | --no-rosegment | --verbose | -t | --trace* | \
            --error-limit=* | --demangle | --no-demangle | --no-keep-memory | --stats | --reduce-memory-overheads | \
            --gdb-index | --threads* | --package-metadata=* | --no-undefined-version | --compress-debug-sections=* | \
            --no-warn* | --print-*) ;;
        *) emit "$1" ;;
    esac
}

holds_libpython() {
    set +f
    for file in "$1"/libpython[23]*; do
        set -f
        [ -e "$file" ]
        return
    done
}

# --- the flags, one by one: what stays is named by its place, so that no quoting is lost -----------------------------
keep='' late='' version_script='' syntax_only='' next='' place=0 cxx_library='' unwinder=''
for arg in "$@"; do
    place=$((place + 1)) original=$arg
    case $next in
        drop) next='' && continue ;;
        keep) next='' keep="$keep \"\${$place}\"" && continue ;;
        linker) next='' arg=-Wl,$arg ;;
        -R) next='' arg=-Wl,-rpath,$arg ;;
        -z) next='' arg=-Wl,-z,$arg ;;
        -I | -L | -isystem | -l) arg=$next$arg next='' ;;
    esac
    case $arg in
        -Wl,*)
            IFS=, out=''
            for word in ${arg#-Wl,}; do linker_word "$word"; done
            unset IFS
            [ "$out" ] || continue
            arg=-Wl$out ;;
        -Xlinker) next=linker && continue ;;
        -R | -L | -l) next=$arg && continue ;;
        -L/*)
            if holds_libpython "${arg#-L}"; then
                [ "$kind" = system ] && [ ! "$libpython" ] && continue
                set -- "$@" "$arg"
                late="$late \"\${$#}\"" # the interpreter's own folder holds more than libpython: it comes last
                continue
            fi ;;
        -o | -x | -MF | -MT | -MQ | -iquote | -idirafter | -include | -imacros | -D | -U | -u | -T | -Xclang | \
            -Xpreprocessor | -Xassembler | -mllvm | -target | --param) next=keep ;;
    esac
    if [ "$kind" = zig ] && [ "$next" != keep ]; then
        case $arg in
            # Debug information is stripped at the link, because the runtime's own would name this machine's folders.
            -g* | -s) continue ;;
            -flto* | -fno-lto | -f*fat-lto-objects | -fuse-linker-plugin | -fuse-ld=* | -specs=* | -mtune=* | \
                --sysroot=* | -B?* | -static-libgcc | -static-libstdc++ | -fdebug-* | -fno-reorder-* | \
                -fno-partial-inlining | -fprofile-use* | -fprofile-correction | -fno-semantic-interposition) continue ;;
            -B | --sysroot | -isysroot) next=drop && continue ;;
            -z | -I | -isystem) next=$arg && continue ;;
            -fsyntax-only) syntax_only=1 && continue ;; # zig has no such mode
            -pie | -fPIE | -fpie) [ "$shared" ] && continue ;;
            -march=x86-64*) # zig writes its processors' names with underscores
                arg=${arg#-march=x86-64} arg=-march=x86_64${arg:+_${arg#-}} ;;
            -Wp,-D* | -Wp,-U*) arg=${arg#-Wp,} ;;
            # This machine's own folders come last, below.
            -I/usr/include | -I/usr/include/"$arch"-linux-gnu | -I/usr/local/include | \
                -isystem/usr/include | -isystem/usr/include/"$arch"-linux-gnu | -isystem/usr/local/include | \
                -L/usr/lib | -L/usr/lib64 | -L/usr/lib/"$arch"-linux-gnu | \
                -L/lib | -L/lib64 | -L/lib/"$arch"-linux-gnu) continue ;;
            # Its libc, named by path (CMake's find_library does), is the one thing not to link with.
            /usr/lib*/libc.* | /usr/lib*/libm.* | /usr/lib*/libdl.* | /usr/lib*/librt.* | /usr/lib*/libutil.* | \
                /usr/lib*/libpthread.* | /usr/lib*/libresolv.* | /usr/lib*/libstdc++.* | /usr/lib*/libgcc_s.* | \
                /lib*/libc.* | /lib*/libm.* | /lib*/libdl.* | /lib*/librt.* | /lib*/libutil.* | /lib*/libpthread.*)
                arg=${arg##*/lib} arg=-l${arg%%.*} ;;
        esac
        if [ $step = link ] && [ "$cxx_runtime" ]; then # below, for C++, comes what stands for these
            case $arg in
                -lstdc++ | -lc++ | -lc++abi | -lsupc++) cxx_library=1 && continue ;;
                -lgcc_s) unwinder=1 && continue ;;
            esac
        fi
        if [ $step = link ] && [ ! "$sources" ]; then
            # zig builds its runtime once for each set of code generation flags: without them there is one runtime.
            case $arg in
                -fsanitize* | -Wl,*) ;;
                -m* | -O* | -f* | -W* | -D?* | -I?* | -isystem?* | -std=* | -pipe) continue ;;
            esac
        fi
    fi
    if [ "$arg" != "$original" ]; then
        set -- "$@" "$arg"
        keep="$keep \"\${$#}\""
    else
        keep="$keep \"\${$place}\""
    fi
done

eval "set -- $keep $late"
[ "$kind" = system ] && exec "$real" @PREFIX_MAPS@ "$@"

[ "$syntax_only" ] && set -- "$@" -c -o /dev/null
[ "$version_script" ] && set -- "$@" -Wl,--undefined-version # as GNU ld, which most version scripts were written for
[ "$stdin" ] && [ ! "$language" ] && set -- -x c "$@"
[ "$cxx_source" ] && mode=c++ # as gcc does by a file's name; zig would not find the headers
if [ $step = link ] && [ "$cxx_runtime" ]; then
    if [ "$mode$no_defaults" = c++ ] || [ "$cxx_library" ]; then
        # All files of a wheel share one C++ library, which the repair adds: zig's own would be in each of them.
        [ -e "$cxx_runtime/@CXX_LIBRARY@" ] || env -i @MAKE_CXX_RUNTIME@ >&2 || exit
        [ ! "$sources" ] || set -- "$@" @CXX_HEADER_FLAGS@
        [ ! "$language" ] || set -- "$@" -x none
        set -- "$@" -nostdlib++ -Wl,--as-needed "$cxx_runtime/@CXX_LIBRARY@" "$cxx_runtime/@CXX_UNWINDER@"
    elif [ "$unwinder" ]; then
        set -- "$@" -lgcc_s
    fi
fi
if [ $step = link ]; then
    set -- "$@" @LIBRARY_FLAGS@ -s
    # CMake learns from the linker's own command line which folders are searched anyway, and so where to look.
    [ "$verbose" ] && echo " ld.lld" @LIBRARY_FLAGS@ >&2
    # Without -O zig would build and link its runtime for catching undefined behaviour.
    [ "$optimised" ] && [ "$sources" ] || set -- "$@" -O2
fi
if [ $step = compile ] || [ "$sources" ]; then
    set -- @PREFIX_MAPS@ "$@" @INCLUDE_FLAGS@ @CXX_FLAGS@
fi
# zig adds debug information by itself, which takes a third of the time of C++ and is stripped at the link.
[ $step = link ] || set -- "$@" -g0
# zig turns assertions off by -O alone, and undefined behaviour into traps: a project decides that for itself.
exec "$real" "$mode" -target "$target" -fno-sanitize=all -UNDEBUG "$@"
