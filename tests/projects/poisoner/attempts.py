"""What a build tries with those who compile for it. Each attempt returns what it got hold of, and nothing where it failed."""

import glob
import json
import os
import socket
import subprocess
import sys

SOCKET = os.environ.get("MANYWHEELS_COMPILER_CACHE", "")
PLACE = os.path.dirname(SOCKET)
EVIL = "/tmp/poisoner"
RAN = EVIL + "/ran-as-"
ATTEMPTS = []
POISON = "int answer_of_all(void) { return 13; }\n"


def attempt(function):
    ATTEMPTS.append(function)
    return function


def say():
    os.makedirs(EVIL, mode=0o777, exist_ok=True)
    os.chmod(EVIL, 0o777)
    tried = ATTEMPTS if SOCKET else [get_another_object_in_place_of_the_shared_one]
    print("poisoner " + json.dumps({f.__name__: f() for f in tried}), flush=True)


# --- the protocol of the compilers' wrapper ---


def send(connection, *fields):
    connection.sendall(b"".join(len(one).to_bytes(8, "big") for one in [b"x" * len(fields), *fields]) + b"".join(fields))


def receive(connection):
    def read(length):
        data = b""
        while len(data) < length:
            block = connection.recv(length - len(data))
            if not block:
                raise OSError("ended")
            data += block
        return data

    lengths = [int.from_bytes(read(8), "big") for _ in range(int.from_bytes(read(8), "big"))]
    return [read(length) for length in lengths]


def compiled(text, *words, compiler=None, name="unit.c"):
    """Return the object that the program gives for a text; None if it gives none."""
    real = compiler or real_compiler()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        try:
            connection.connect(SOCKET)
            send(connection, b"/", "\0".join([real, *words, "-c", name, "-o", "unit.o"]).encode())
            if not receive(connection):
                return None
            send(connection, text if isinstance(text, bytes) else text.encode())
            answer = receive(connection)
        except OSError:
            return None
        return answer[1] if answer else None


def real_compiler():
    """Return what the wrapper starts, which is the only thing that the program would start."""
    for line in open(os.environ["CC"]):
        for word in line.split():
            if word.startswith("real="):
                return word[len("real="):].strip("'\"")
    raise SystemExit("no compiler in the wrapper")


def control():
    """Return whether an honest request is answered, without which nothing below would mean anything."""
    return compiled("int honest(void) { return 1; }\n") is not None


# --- the attempts ---


@attempt
def nothing_was_tried():
    return [] if control() else ["an honest request got no object"]


def opened(paths, mode):
    found = []
    for path in paths:
        try:
            open(path, mode).close()
            found.append(path)
        except OSError:
            pass
    return found


@attempt
def write_into_the_store():
    paths = [path for path in glob.glob(PLACE + "/**", recursive=True) if path != SOCKET]
    return opened([os.path.join(path, "poisoner") if os.path.isdir(path) else path for path in paths], "ab")


@attempt
def read_the_store():
    return opened([PLACE + "/objects", *glob.glob(PLACE + "/*/*/*")], "rb")


@attempt
def replace_the_store():
    found = []
    for name in ("objects", os.path.basename(SOCKET)):
        try:
            os.rename(os.path.join(PLACE, name), os.path.join(EVIL, name))
            found.append(name)
        except OSError:
            pass
    return found


@attempt
def ask_in_the_name_of_others():
    found = []
    for path in glob.glob(PLACE + "/cp*"):
        with socket.socket(socket.AF_UNIX) as connection:
            if path != SOCKET and not connection.connect_ex(path):
                found.append(path)
    return found


@attempt
def have_its_code_run_by_the_compiling_user():
    mark = "#!/bin/sh\n: > %s$(id -u)\n" % RAN
    for name in ("cc1", "as", "ld", "clang", "gcc", "collect2", "evil"):
        with open(os.path.join(EVIL, name), "w") as file:
            file.write(mark)
        os.chmod(os.path.join(EVIL, name), 0o755)
    with open(EVIL + "/own.specs", "w") as file:
        file.write("*cc1:\n%s/cc1\n\n" % EVIL)
    with open(EVIL + "/words", "w") as file:
        file.write("-B%s\n-wrapper\n%s/evil\n" % (EVIL, EVIL))
    for words in (["-B" + EVIL], ["-B", EVIL], ["-wrapper", EVIL + "/evil"], ["-specs=" + EVIL + "/own.specs"],
                  ["-specs", EVIL + "/own.specs"], ["@" + EVIL + "/words"], ["-fplugin=" + EVIL + "/evil"],
                  ["-no-integrated-as", "-B" + EVIL], ["-fuse-ld=" + EVIL + "/ld"], ["--sysroot=" + EVIL],
                  ["-Xclang", "-load", "-Xclang", EVIL + "/evil"], ["--config", EVIL + "/words"],
                  ["-fno-integrated-as", "-fno-integrated-cc1"], ["-ffile-prefix-map=/=" + EVIL + "/"],
                  ["-D", "x=$(%s/evil)" % EVIL], ["-Wp,-fplugin=" + EVIL + "/evil"], ["-Wa,--alternate;" + EVIL + "/evil"]):
        compiled("int x;\n", *words)
    compiled("int x;\n", compiler=EVIL + "/gcc")
    compiled("int x;\n", compiler="/bin/sh")
    compiled("int x;\n", name="unit.c;" + EVIL + "/evil")
    return [path for path in glob.glob(RAN + "*") if os.stat(path).st_uid != os.getuid()]


@attempt
def read_files_of_others_through_the_compiler():
    """The assembler reads files, also by words that no search for them finds."""
    found = []
    files = ["/etc/shadow", "/proc/1/environ", PLACE + "/objects", "/proc/self/environ"]
    files += [path for name in os.listdir("/proc") if name.isdigit() for path in ("/proc/%s/environ" % name, "/proc/%s/cwd/unit.c" % name)]
    for path in files:
        plain = 'asm(".incbin \\"%s\\"");\n' % path
        hidden = 'asm(".macro r x\\n.\\\\x\\\\()bin \\"%s\\"\\n.endm\\nr inc");\n' % path
        for text in (plain, hidden, '#include "%s"\n' % path, '#pragma GCC pch_preprocess "%s"\n' % path):
            made = compiled(text)
            if made and any(word in made for word in (b"root:", b"canary-secret", b"answer_of_all", b"ACTIONS_")):
                found.append(path)
    return found


@attempt
def get_another_object_in_place_of_the_shared_one():
    """Ask for the poison under the text, the name and the options of what the other target will ask for."""
    os.makedirs(EVIL + "/store", exist_ok=True)
    for words in ([], ["-O2"], ["-O3"]):
        for trick in (POISON, '# 1 "poisoner/shared.c"\n' + POISON, POISON + "\0int answer_of_all(void) { return 42; }\n"):
            compiled(trick, *words, name="poisoner/shared.c")
    naive = os.environ.get("NAIVE_STORE")
    for path in glob.glob(naive + "/*.o") if naive else ():
        if b"answer_of_all" in open(path, "rb").read():
            source = os.path.join(EVIL, "poison.c")
            with open(source, "w") as file:
                file.write(POISON)
            subprocess.run([os.environ["CC"], "-O2", "-fPIC", "-c", source, "-o", EVIL + "/poison.o"], check=True,
                           env={**os.environ, "MANYWHEELS_COMPILER_CACHE": ""})
            if b"PyInit_core" not in open(path, "rb").read():
                with open(path, "wb") as file:
                    file.write(open(EVIL + "/poison.o", "rb").read())
    return []  # the test asks the other target's wheel


if __name__ == "__main__":
    say()
    sys.exit(0)
