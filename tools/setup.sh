#!/bin/sh
# Create the virtual environment given as the first argument and install the package with its tools.
# PYTHON=/path/to/python3 chooses the interpreter; otherwise the first one that is new enough is taken.
set -eu
venv=$1

usable() { # is $1 a Python >= 3.11? (A version manager's stub may exist and still not run.)
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    if [ -n "${PYTHON:-}" ]; then
        echo "PYTHON=$PYTHON is no Python 3.11 or newer." >&2
    else
        echo "Python 3.11 or newer is needed, and $(python3 --version 2>&1 || echo 'no python3') is what was found." >&2
        echo "Install a newer one, or name it: make setup PYTHON=/path/to/python3" >&2
    fi
    return 1
}

if [ -e "$venv" ] && ! usable "$venv/bin/python"; then
    rm -rf "$venv" # Its interpreter is gone or too old: nothing in it can be used.
fi
if [ ! -e "$venv" ]; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python cannot create virtual environments; install its venv module" >&2
        echo "(on Debian and Ubuntu: apt-get install python3-venv)." >&2
        exit 1
    fi
    echo "setup: creating $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi
echo "setup: installing the package and its tools into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
