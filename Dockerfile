# The action's image: a manylinux image with manywheels in a separate virtual environment, which builds do not see.
# GitHub's runner builds it without arguments, `manywheels build --engine container` with BASE. Works with any base
# distribution and without BuildKit. The layers that change least come first.
ARG BASE=quay.io/pypa/manylinux_2_28:2026.08.15-1
FROM ${BASE}

# Any index can be used: every file is pinned by its hash.
ARG UV_DEFAULT_INDEX
ARG PIP_INDEX_URL

COPY requirements/image.txt /opt/manywheels/image.txt
RUN set -eu; \
    python=/opt/python/cp313-cp313/bin/python; \
    venv=/opt/manywheels/venv; \
    "$python" -m venv --without-pip "$venv"; \
    if command -v uv >/dev/null; then \
        uv pip install --python "$venv/bin/python" --no-config --no-cache --compile-bytecode \
            --require-hashes --only-binary :all: -r /opt/manywheels/image.txt; \
    else \
        "$python" -m pip --python "$venv/bin/python" install --no-cache-dir --disable-pip-version-check \
            --root-user-action ignore --no-deps --require-hashes --only-binary :all: -r /opt/manywheels/image.txt; \
    fi; \
    mkdir -p /var/cache/manywheels

# The images' Pythons come without compiled modules, and a target's user cannot keep any there: each process of each build
# would compile the same ones again. These are what build back ends import; older Pythons have no tomllib.
RUN ls -d /opt/python/[cp]p*/bin/python | xargs -P 4 -I {} sh -c '{} -I -c "import \
        argparse, ast, configparser, csv, ctypes.util, dataclasses, datetime, difflib, email.generator, email.parser, \
        email.policy, glob, hashlib, importlib.metadata, importlib.resources, inspect, json, logging, platform, \
        pprint, shlex, shutil, socket, subprocess, sysconfig, tarfile, tempfile, textwrap, typing, urllib.request, \
        zipfile; sysconfig.get_config_vars(); import tomllib" 2>/dev/null || :'

ENV MANYWHEELS_CACHE=/var/cache/manywheels
ENTRYPOINT ["manylinux-entrypoint", "/opt/manywheels/venv/bin/python", "-I", "/opt/manywheels/entrypoint.py"]
CMD []

COPY action.yml Dockerfile entrypoint.py /opt/manywheels/venv/lib/python3.13/site-packages/manywheels/_image/
COPY requirements/image.txt /opt/manywheels/venv/lib/python3.13/site-packages/manywheels/_image/requirements/
COPY entrypoint.py /opt/manywheels/entrypoint.py
COPY src/manywheels /opt/manywheels/venv/lib/python3.13/site-packages/manywheels
# No time or hash checks when loading: the files in the image never change. Importing compiles what the program needs of
# Python's own modules.
RUN /opt/manywheels/venv/bin/python -I -m compileall -q --invalidation-mode unchecked-hash \
    /opt/manywheels/venv/lib/python3.13/site-packages/manywheels \
    && /opt/manywheels/venv/bin/python -I -c 'import \
        manywheels.cli.build, manywheels.cli.main, manywheels.build.pipeline, manywheels.verify.run, \
        auditwheel.repair, auditwheel.wheel_abi, docutils.core, email_validator, readme_renderer.rst'
