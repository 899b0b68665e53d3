# Puts manywheels into an environment of its own, which no build sees. In the project's own image it is there already.
# MANYWHEELS_FROM is a requirement, a wheel or a folder; empty means MANYWHEELS_SOURCE at MANYWHEELS_REVISION.
# Nothing is built, and all that it needs is known by its hash: from its own lock, and from no cache that others can write.
set -eu
umask 022
manywheels=/opt/manywheels/venv/bin/python
if [ -n "$MANYWHEELS_FROM" ] || [ ! -x "$manywheels" ]; then
  home=/opt/manywheels-job
  mkdir "$home" 2>/dev/null || home=$(mktemp -d)
  manywheels=$home/venv/bin/python
  python=/opt/python/cp313-cp313/bin/python
  [ -x "$python" ] || python=$(command -v python3)
  "$python" -m venv --without-pip "$home/venv"
  add() {
    if command -v uv >/dev/null; then
      uv pip install --quiet --no-config --no-cache --no-deps --python "$manywheels" "$@"
    else
      "$python" -m pip --python "$manywheels" install --quiet --no-cache-dir --no-deps --disable-pip-version-check "$@"
    fi
  }
  if [ -z "$MANYWHEELS_FROM" ]; then
    archive=${MANYWHEELS_SOURCE%%REVISION*}$MANYWHEELS_REVISION${MANYWHEELS_SOURCE#*REVISION}
    echo "manywheels $MANYWHEELS_REVISION from $archive"
    curl --fail --silent --show-error --location --retry 3 --output "$home/source.tar.gz" "$archive"
    mkdir "$home/archive"
    tar -xzf "$home/source.tar.gz" -C "$home/archive" --strip-components 1 --no-same-owner
    MANYWHEELS_FROM=$home/archive
  fi
  if [ -d "$MANYWHEELS_FROM" ]; then
    mkdir -p "$home/source"
    for part in src requirements action.yml Dockerfile entrypoint.py; do
      cp -R "$MANYWHEELS_FROM/$part" "$home/source/$part"
    done
    echo "$home/source/src" >"$("$manywheels" -I -c 'import site; print(site.getsitepackages()[0])')/manywheels.pth"
  else
    add "$MANYWHEELS_FROM"
  fi
  lock=$("$manywheels" -I -c 'from manywheels.resources import resource; print(resource("requirements/image.txt"))')
  add --require-hashes --only-binary :all: -r "$lock"
fi
