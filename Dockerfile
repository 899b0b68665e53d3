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

ENV MANYWHEELS_CACHE=/var/cache/manywheels
ENTRYPOINT ["manylinux-entrypoint", "/opt/manywheels/venv/bin/python", "-I", "/opt/manywheels/entrypoint.py"]
CMD []

COPY action.yml Dockerfile entrypoint.py /opt/manywheels/venv/lib/python3.13/site-packages/manywheels/_image/
COPY requirements/image.txt /opt/manywheels/venv/lib/python3.13/site-packages/manywheels/_image/requirements/
COPY entrypoint.py /opt/manywheels/entrypoint.py
COPY src/manywheels /opt/manywheels/venv/lib/python3.13/site-packages/manywheels
# No time or hash checks when loading: the files in the image never change.
RUN /opt/manywheels/venv/bin/python -I -m compileall -q --invalidation-mode unchecked-hash \
    /opt/manywheels/venv/lib/python3.13/site-packages/manywheels
