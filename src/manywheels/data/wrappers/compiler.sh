#!/bin/sh
# A compiler as builds see it, written by manywheels for one run. Three things are its business: what is linked links
# for the policy's libc, nothing of the building machine's paths gets into the result, and flags that an interpreter's
# sysconfig brings along (they suited the compiler that it was built with) do no harm here.
kind=@KIND@ real=@REAL@ bin=@BIN@ mode=@MODE@ arch=@ARCH@ target=@TARGET@
# The target's names, its libc as in a triplet, and whether it is another one than this machine's.
multiarch=@MULTIARCH@ machine=@MACHINE@ names=@NAMES@ libc=@LIBC@ bits=@BITS@ foreign=@FOREIGN@ here=@HERE@

# The real compiler, or a ccache before it, must not find this wrapper again.
path=:$PATH:
case $path in *:"$bin":*) path=${path%%:"$bin":*}:${path#*:"$bin":} ;; esac
path=${path#:} PATH=${path%:}
[ "$kind" = system ] || export ZIG_GLOBAL_CACHE_DIR=@GLOBAL_CACHE@ ZIG_LOCAL_CACHE_DIR=@LOCAL_CACHE@

set -f
newline='
'

run() { # compile, or ask the program whether that has been done already
    [ ! "$shared_step" ] || exec @SHARE@ "$@"
    exec "$@"
}

refuse() { # what the embedded compilers cannot do is said in our own words: nobody asked for zig
    echo "manywheels: error: $1: use --engine container, which has gcc and GNU ld" >&2
    exit 1
}
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
freestanding='' static='' shared_step=''
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
        -nostdlib | -nolibc | -r) freestanding=1 ;;
        -static | --static | -static-pie) static=1 ;;
        -O*) optimised=1 ;;
        -lpython*) libpython=1 ;;
        -l?* | -Wl,*.a | -Wl,*.a,* | -Wl,*.o | -Wl,*.o,*) inputs=${inputs:-words} ;;
        -) inputs=1 sources=1 stdin=1 ;;
        -o | -x | -MF | -MT | -MQ | -I | -isystem | -iquote | -idirafter | -include | -imacros | -D | -U | -L | -u | \
            -z | -T | -l | -Xlinker | -Xclang | -Xpreprocessor | -Xassembler | -mllvm | --param | -target | --target | \
            -isysroot | --sysroot | -B | -R) value=1 ;;
        -*) ;;
        *.c | *.cc | *.cpp | *.cxx | *.c++ | *.C | *.CPP | *.cp | *.i | *.ii | *.s | *.S) inputs=1 sources=1 ;;
        *) inputs=1 ;;
    esac
    case $arg in
        -c) [ ! "$MANYWHEELS_COMPILER_CACHE" ] || shared_step=${shared_step:-1} ;;
        # Probes are compiled faster than they are asked for.
        *conftest.* | *CMakeScratch* | *CMakeTmp* | *CompilerId* | *cmTC_* | *meson-private*) shared_step=no ;;
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
[ "$shared_step$step" = 1compile ] || shared_step=''

if [ ! "$inputs" ]; then
    [ "$kind" = system ] && exec "$real" "$@"
    case " $* " in
        *" -Wl,--version "* | *" -Wl,-v "*) exec "$real" ld.lld --version ;;
        *" -print-multiarch "*) echo "$multiarch" && exit ;;
        *" -dumpmachine "*) echo "$machine" && exit ;;
        # Of this machine's own libraries none is to be linked with: a name alone means that there is no such file.
        *" -print-file-name="* | *" --print-file-name="*)
            for arg in "$@"; do
                case $arg in -print-file-name=* | --print-file-name=*) echo "${arg#*=}" && exit ;; esac
            done ;;
        *" -dumpfullversion "*) exec "$real" "$mode" -target "${target%%.*}" -dumpversion ;;
    esac
    exec "$real" "$mode" -target "${target%%.*}" "$@" # clang itself does not know zig's spelling with a glibc version
fi

# --- words for the linker --------------------------------------------------------------------------------------------
word_next='' out='' lld=''
emit() { out=$out,$1; }
by_lld() { # zig's driver refuses most words of GNU ld; its linker, lld, takes them: lld_link.py gives them to it
    emit "$1"
    lld=1
}

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
        value) word_next='' && emit "$1" && return ;;
        z)
            word_next=''
            case $1 in
                now | lazy | relro | norelro | defs | undefs | origin | nodelete | noexecstack | notext | \
                    nocopyreloc | *-page-size=*) emit -z && emit "$1" ;;
                pack-relative-relocs) ;; # only glibc from 2.36 on can load that
                *) emit -z && by_lld "$1" ;;
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
        @*) if [ -r "${1#@}" ]; then
                IFS=$newline
                for word in $(xargs printf '%s\n' <"${1#@}"); do IFS=, && linker_word "$word"; done
                IFS=, && return
            fi ;;
    esac
    [ "$kind" = system ] && emit "$1" && return
    case $1 in
        -z) word_next=z ;;
        -z?*) word_next=z && linker_word "${1#-z}" ;;
        -h | -soname | --soname) emit -soname && word_next=value ;;
        -h?*) emit -soname && emit "${1#-h}" ;;
        --undefined=*) emit -u && emit "${1#*=}" ;;
        --version-script=* | -version-script=*) emit "$1" && version_script=1 ;;
        --version-script | -version-script) emit "$1" && version_script=1 word_next=value ;;
        -u | -e | --entry | --hash-style | --dynamic-linker) emit "$1" && word_next=value ;;
        # What zig's own driver takes, and means by it what GNU ld means.
        -soname=* | --soname=* | -u?* | --entry=* | --hash-style=* | --dynamic-linker=* | --build-id | --build-id=* | \
            -O? | --gc-sections | --no-gc-sections | --no-undefined | -no-undefined | -E | --export-dynamic | \
            -Bsymbolic | --enable-new-dtags | --disable-new-dtags | --eh-frame-hdr | --undefined-version | \
            --no-undefined-version | --allow-shlib-undefined | --no-allow-shlib-undefined | -s | -S | --strip-all | \
            --strip-debug | -x | --discard-all | --color-diagnostics* | --start-group | --end-group | \
            --as-needed) emit "$1" ;;
        # Without these the result does the same: diagnostics, hints, and what lld does anyway.
        -rpath-link | --rpath-link | --thread-count | -plugin | --plugin | -m) word_next=drop ;;
        -rpath-link=* | --rpath-link=* | --threads | --threads=* | --no-threads | -plugin* | --plugin* | -flto* | \
            --*copy-dt-needed-entries | --*add-needed | --sort-common* | --no-relax | --relax | --no-rosegment | \
            --no-warn-* | --warn-common | --warn-once | --warn-constructors | --warn-execstack* | --warn-multiple-gp | \
            --warn-alternate-em | --warn-rwx-segments | --warn-section-align | --warn-*textrel | --demangle* | \
            --no-demangle | --no-keep-memory | --stats | --reduce-memory-overheads | --max-cache-size=* | \
            --hash-size=* | --no-ctf-variables | --traditional-format | --spare-dynamic-tags=* | \
            --*ld-generated-unwind-info | --no-strip-discarded | --gdb-index | --error-limit=* | \
            --package-metadata=* | -dc | -dp | -g | --compress-debug-sections=* | --accept-unknown-input-arch | \
            --verbose | -t | --trace) ;;
        *) by_lld "$1" ;;
    esac
}

# --- gcc's options that clang refuses -------------------------------------------------------------------------------
# gcc's passes and diagnostics, which do not change what the code means: by the names of gcc 12's --help.
has_no_effect() {
    case ${1#no-} in
        tree-vectorize | tree-slp-vectorize | split-stack) return 1 ;;
        tree-* | ipa-* | ira-* | gcse* | sched* | sel-sched-* | selective-scheduling* | reschedule-* | loop-* | \
            split-* | if-conversion* | cse-* | rerun-* | code-hoisting | hoist-* | crossjumping | combine-* | \
            cprop-* | peephole* | thread-jumps | toplevel-reorder | reorder-* | partial-inlining | early-inlining | \
            indirect-inlining | inline-small-functions | inline-functions-called-once | inline-atomics | \
            shrink-wrap* | store-merging | ssa-* | dce | dse | lifetime-dse* | allocation-dce | devirtualize-* | \
            forward-propagate | fold-simple-inlines | function-cse | graphite* | guess-branch-probability | branch-* | \
            bit-tests | btr-* | isolate-* | vpt | move-loop-* | optimize-strlen | printf-return-value | \
            predictive-commoning | section-anchors | stdarg-opt | aggressive-loop-optimizations | \
            unconstrained-commons | unroll-completely-* | version-loops-* | web | free | ree | regmove | zee | lra-* | \
            live-* | limit-function-alignment | conserve-stack | delayed-branch | auto-inc-dec | declone-* | \
            delete-dead-exceptions | check-data-deps | allow-store-data-races | compare-elim | gnu-unique | \
            fp-int-builtin-inexact | keep-static-functions | profile-* | harden-* | stack-protector-explicit | \
            analyzer* | track-macro-expansion* | canonical-system-headers | working-directory | var-tracking* | \
            eliminate-* | emit-class-* | emit-struct-* | debug-* | opt-info* | mem-report* | report-bug | stats | \
            checking* | callgraph-info* | pch-deps | merge-debug-strings | large-source-files | pretty-templates | \
            ext-numeric-literals | new-inheriting-ctors | strong-eval-order* | nothrow-opt | \
            diagnostics-plain-output | diagnostics-generate-patch | diagnostics-show-caret | diagnostics-show-cwe | \
            diagnostics-show-labels | diagnostics-show-path-depths) ;;
        *) return 1 ;;
    esac
}

processor() { # zig has names and features of LLVM's, with underscores: what follows a dash is a feature to leave out
    name=$1
    case $name in
        core-avx2) name=haswell ;;
        core-avx-i) name=ivybridge ;;
        corei7-avx) name=sandybridge ;;
        athlon-fx) name=athlon_fx ;;
        armv[89]*-a | armv[89]*-a+*)
            name=$(echo "$name" | sed '
                s/^armv8-a/generic/; s/^armv9-a/generic+v9a/; s/^armv\([89]\)\.\([0-9]*\)-a/generic+v\1_\2a/
                s/+no/-/g; s/fp16\>/fullfp16/; s/simd\>/neon/; s/fp\>/fp_armv8/; s/rng\>/rand/; s/memtag\>/mte/
                s/profile\>/spe/; s/sve2-/sve2_/g') ;;
        *+*) name=$(echo "${name%%+*}" | tr - _)+${name#*+} ;;
        *-*) name=$(echo "$name" | tr - _) ;;
    esac
}

is_target() { # by any of the names of its architecture, with a glibc version or without
    case " $names " in *" ${1%%-*} "*) ;; *) return 1 ;; esac
    case $1 in *-linux | *-linux-"$libc" | *-linux-"$libc".*) ;; *) return 1 ;; esac
}

of_this_machine() {
    case ${1%/} in /usr/lib | /usr/lib64 | /usr/lib/"$here" | /lib | /lib64 | /lib/"$here" | /usr/local/lib*) ;; *) return 1 ;; esac
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
        target) next='' arg=--target=$arg ;;
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
            [ "$foreign" ] && of_this_machine "${arg#-L}" && continue
            if holds_libpython "${arg#-L}"; then
                [ "$kind" = system ] && [ ! "$libpython" ] && continue
                set -- "$@" "$arg"
                late="$late \"\${$#}\"" # the interpreter's own folder holds more than libpython: it comes last
                continue
            fi ;;
        -T) next=keep lld=1 ;;
        -T?*) lld=1 ;;
        -o | -x | -MF | -MT | -MQ | -iquote | -idirafter | -include | -imacros | -D | -U | -u | -Xclang | \
            -Xpreprocessor | -Xassembler | -mllvm | --param) next=keep ;;
        -target | --target) next=target && continue ;;
    esac
    if [ "$kind" = zig ] && [ "$next" != keep ]; then
        case $arg in
            # Debug information is stripped at the link, because the runtime's own would name this machine's folders.
            -g* | -s) continue ;;
            -flto* | -fno-lto | -f*fat-lto-objects | -fuse-linker-plugin | -fuse-ld=* | -specs=* | -mtune=* | \
                --sysroot=* | -B?* | -static-libgcc | -static-libstdc++ | -fno-semantic-interposition | \
                -fno-strict-volatile-bitfields) continue ;;
            -fopenmp | -fopenmp=* | -fopenacc) refuse "$arg: the embedded compilers (clang, zig) have no OpenMP" ;;
            -f*) has_no_effect "${arg#-f}" && continue ;;
            -m"$bits") continue ;;
            -m16 | -m32 | -m64 | -mx32) refuse "$arg: these compilers compile for $arch only" ;;
            -mglibc | -mmusl | -mhard-float | -mfused-madd | -mno-fused-madd | -m*push-args | \
                -m*accumulate-outgoing-args | -minline-*stringops* | -m*align-stringops | -mprefer-avx128 | \
                -mavx256-split-* | -m*8bit-idiv | -m*stv | -mcld | -mno-cld | -mtune-ctrl=* | -m128bit-long-double | \
                -m*fancy-math-387 | -mneeded | -mcet-switch | -mrelax-cmpxchg-loop | -mmemcpy-strategy=* | \
                -mmemset-strategy=* | -mstringop-strategy=* | -mlarge-data-threshold=*) continue ;;
            -march=* | -mcpu=*)
                [ "$arch-${arg%%=*}" = x86_64--mcpu ] && continue # which is an old name of -mtune
                processor "${arg#*=}"
                arg=${arg%%=*}=$name ;;
            --target=*)
                is_target "${arg#--target=}" || refuse "$arg: these compilers compile for $multiarch only"
                continue ;;
            -static | --static | -static-pie)
                [ $step = link ] || continue
                [ "$shared$freestanding" ] || [ "${libc#musl}" != "$libc" ] ||
                    refuse "$arg: the embedded compilers (clang, zig) have glibc as a shared library only"
                [ "$freestanding" ] || [ ! "$shared" ] || arg=-Wl,-Bstatic lld=1 ;;
            --param | -aux-info) next=drop && continue ;;
            --param=* | -fconcepts | -fconcepts-ts | -fcoroutines) continue ;;
            -B | --sysroot | -isysroot) next=drop && continue ;;
            -z | -I | -isystem) next=$arg && continue ;;
            -fsyntax-only) syntax_only=1 && continue ;; # zig has no such mode
            -pie | -fPIE | -fpie) [ "$shared" ] && continue ;;
            -Wp,-D* | -Wp,-U*) arg=${arg#-Wp,} ;;
            # This machine's own folders come last, below.
            -I/usr/include | -I/usr/include/"$here" | -I/usr/local/include | \
                -isystem/usr/include | -isystem/usr/include/"$here" | -isystem/usr/local/include | \
                -L/usr/lib | -L/usr/lib64 | -L/usr/lib/"$here" | \
                -L/lib | -L/lib64 | -L/lib/"$here") continue ;;
            # Its libc, named by path (CMake's find_library does), is the one thing not to link with.
            /usr/lib*/libc.* | /usr/lib*/libm.* | /usr/lib*/libdl.* | /usr/lib*/librt.* | /usr/lib*/libutil.* | \
                /usr/lib*/libpthread.* | /usr/lib*/libresolv.* | /usr/lib*/libstdc++.* | /usr/lib*/libgcc_s.* | \
                /lib*/libc.* | /lib*/libm.* | /lib*/libdl.* | /lib*/librt.* | /lib*/libutil.* | /lib*/libpthread.*)
                arg=${arg##*/lib} arg=-l${arg%%.*} ;;
            /usr/lib/lib*.so* | /usr/lib/lib*.a | /usr/lib64/lib*.so* | /usr/lib64/lib*.a | /usr/lib/"$here"/*.so* | \
                /usr/lib/"$here"/*.a | /lib/lib*.so* | /lib64/lib*.so* | /lib/"$here"/*.so* | \
                /usr/local/lib/lib*.so* | /usr/local/lib/lib*.a)
                [ ! "$foreign" ] || refuse "$arg: a library of this machine, which is not $multiarch" ;;
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
# Where back ends are installed is another folder in each build.
[ ! "$VIRTUAL_ENV" ] || set -- -ffile-prefix-map="$VIRTUAL_ENV"=./env "$@"
[ "$kind" = system ] && run "$real" @PREFIX_MAPS@ "$@"

[ "$syntax_only" ] && set -- "$@" -c -o /dev/null
[ "$version_script" ] && set -- "$@" -Wl,--undefined-version # as GNU ld, which most version scripts were written for
[ "$stdin" ] && [ ! "$language" ] && set -- -x c "$@"
[ "$cxx_source" ] && mode=c++ # as gcc does by a file's name; zig would not find the headers
links_cxx=@LINKS_CXX@
if [ $step = link ] && [ ! "$links_cxx" ] && { [ "$mode$no_defaults" = c++ ] || [ "$cxx_library" ]; }; then
    refuse "C++ for $arch: the embedded compilers' exceptions do not work there"
fi
if [ $step = link ] && [ "$cxx_runtime" ]; then
    if [ "$mode$no_defaults" = c++ ] || [ "$cxx_library" ]; then
        # All files of a wheel share one C++ library, which the repair adds: zig's own would be in each of them.
        [ -e "$cxx_runtime/@CXX_LIBRARY@" ] || env -i @MAKE_CXX_RUNTIME@ >&2 || exit
        [ ! "$sources" ] || set -- "$@" -I@CXX_HEADERS@ @CXX_HEADER_FLAGS@
        [ ! "$language" ] || set -- "$@" -x none
        set -- "$@" -nostdlib++ -Wl,--as-needed "$cxx_runtime/@CXX_LIBRARY@" "$cxx_runtime/@CXX_UNWINDER@"
    elif [ "$unwinder" ]; then
        set -- "$@" -lgcc_s
    fi
fi
link_stub=@LINK_STUB@
if [ $step = link ] && [ "$link_stub" ] && [ ! "$freestanding" ] && { [ "$shared" ] || [ ! "$static" ]; }; then
    # Programs are linked with musl as gcc does it. zig would link them statically, unless they need a shared library.
    case $libc in musl*) [ "$shared" ] || set -- "$@" -dynamic ;; esac
    set -- "$@" -Wl,-Bdynamic,--as-needed "$link_stub"
fi
if [ $step = link ]; then
    set -- "$@" @LIBRARY_FLAGS@ -s
    # CMake learns from the linker's own command line which folders are searched anyway, and so where to look.
    [ "$verbose" ] && echo " ld.lld" @LIBRARY_FLAGS@ >&2
    # Without -O zig would build and link its runtime for catching undefined behaviour.
    [ "$optimised" ] && [ "$sources" ] || set -- "$@" -O2
fi
if [ $step = compile ] || [ "$sources" ]; then
    # Our own headers stand before libc++'s, which zig puts before any -isystem.
    # gcc says nothing of what it does not know or need, and so -Werror makes no error of it.
    set -- -Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-unused-command-line-argument \
        @PREFIX_MAPS@ "$@" -I@CXX_HEADERS@ @INCLUDE_FLAGS@ @CXX_FLAGS@
fi
# zig adds debug information by itself, which takes a third of the time of C++ and is stripped at the link.
[ $step = link ] || set -- "$@" -g0
# zig turns assertions off by -O alone, and undefined behaviour into traps: a project decides that for itself.
set -- "$real" "$mode" -target "$target" @TARGET_FLAGS@ -fno-sanitize=all -UNDEBUG "$@"
[ "$lld" ] || [ "$inputs" = words ] && [ $step = link ] && exec @LINK@ "$@"
run "$@"
