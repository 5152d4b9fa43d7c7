#!/bin/sh
# install.sh VENV REQUIREMENTS...: a virtual environment with exactly these pinned, hashed packages.
# Takes the first Python from 3.11 to 3.13 it finds, or $PYTHON. An index set for pip or uv is respected.
set -eu
venv=$1
shift
here=$(dirname "$0")

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    if python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        echo "python3 cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
    else
        echo "Python 3.11, 3.12 or 3.13 is needed: found $(python3 --version 2>&1); set PYTHON=/path/to/python3.12" >&2
    fi
    return 1
}

setting_of_pip() {
    "$venv/bin/python" -m pip config list 2>/dev/null | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | tail -n 1
}

if ! usable "$venv/bin/python"; then
    python=$(find_python)
    "$python" -m venv --clear "$venv"
fi
if ! "$venv/bin/python" -c 'import ctypes, sys; sys.platform != "linux" or ctypes.CDLL("libgomp.so.1")' 2>/dev/null; then
    echo "LightGBM needs the OpenMP library; on Debian and Ubuntu: apt-get install libgomp1" >&2
    exit 1
fi
echo "Installing into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/bootstrap.txt"

index=$(setting_of_pip index-url)
certificates=$(setting_of_pip cert)
if [ -n "$index" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"; fi
if [ -n "$certificates" ]; then export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"; fi
for file in "$@"; do set -- "$@" -r "$file"; shift; done
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes "$@"
