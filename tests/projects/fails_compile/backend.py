import os
import shlex
import subprocess
import sysconfig


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
    include = "-I" + sysconfig.get_paths()["include"]
    compiled = 0
    for number in range(1, 301):
        print(f"{shlex.join(compiler)} {include} -c fails_compile/part_{number:03}.c -o part_{number:03}.o", flush=True)
        if number == 150:
            compiled = subprocess.run([*compiler, include, "-c", "fails_compile/broken.c", "-o", "broken.o"]).returncode
    raise SystemExit(f"error: the compiler ended with {compiled}")
