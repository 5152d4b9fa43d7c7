#!/bin/sh
# install-mlsd.sh VENV: the runtime into a virtual environment, from vendor/mlsd, or where that folder was dropped
# from your own index at the version that requirements/runtime.txt pins.
set -eu
venv=$1
here=$(dirname "$0")
vendor=$here/../vendor/mlsd

if [ -d "$vendor/src/mlsd" ]; then
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable "$vendor"
elif [ -e "$vendor" ]; then
    echo "$vendor/src is no folder: the template was checked out without symbolic links; in its clone set" >&2
    echo "git config core.symlinks true, check it out again and bake again" >&2
    exit 1
elif [ -f "$here/runtime.txt" ]; then
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --require-hashes -r "$here/runtime.txt"
else
    echo "neither vendor/mlsd nor requirements/runtime.txt is there: the runtime comes from one of them" >&2
    exit 1
fi
