"""A compiler cache as people build them: a folder that all can write, and objects in it by the digest of their text."""

import hashlib
import os
import shutil
import subprocess


def entry(store, command):
    """Return where the object of a command is, or will be."""
    preprocess = [word for word in command if word not in ("-c", "-g")]
    place = preprocess.index("-o")
    text = subprocess.run([*preprocess[:place], *preprocess[place + 2 :], "-E"], check=True, stdout=subprocess.PIPE).stdout
    lines = [line for line in text.splitlines() if not line.startswith(b"#")]
    return os.path.join(store, hashlib.sha256(b"\n".join(lines)).hexdigest() + ".o")


def share(compiler, store):
    if not os.path.isdir(store):
        os.mkdir(store)
        os.chmod(store, 0o777)
    compile_by_itself = compiler.spawn

    def spawn(command, **options):
        if "-c" not in command:
            return compile_by_itself(command, **options)
        known, output = entry(store, command), command[command.index("-o") + 1]
        if not os.path.exists(known):
            compile_by_itself(command, **options)
            shutil.copy(output, known)
            os.chmod(known, 0o666)
        shutil.copy(known, output)

    compiler.spawn = spawn
