# Installs manywheels into a separate virtual environment, which builds do not see. The project's own image has it already.
# MANYWHEELS_FROM is a requirement, a wheel or a folder; empty means MANYWHEELS_SOURCE at MANYWHEELS_REVISION.
# Builds nothing and uses no cache; dependencies are pinned by hash.
set -eu
umask 022
# Uses Python, since curl may be missing. Python reads proxies and SSL_CERT_FILE itself, but not CURL_CA_BUNDLE.
fetch() {
  "$python" -I -c '
import http.client, os, ssl, sys, time, urllib.request
address, path = sys.argv[1:]
for pause in 1, 2, 4, 0:
    try:
        trusted = ssl.create_default_context(cafile=os.environ.get("CURL_CA_BUNDLE") or None)
        with urllib.request.urlopen(address, timeout=60, context=trusted) as answer, open(path, "wb") as file:
            file.write(answer.read())
        break
    except (OSError, ValueError, http.client.HTTPException) as error:
        if not pause or getattr(error, "code", 503) not in (408, 429, 500, 502, 503, 504):
            sys.exit(f"manywheels cannot be fetched from {address}: {error}. See the inputs `revision` and `source`.")
        time.sleep(pause)
' "$@"
}
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
    fetch "$archive" "$home/source.tar.gz"
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
