# Sourced by quickstart.sh and test.sh: makes the Python environment.
# VENV: its folder (default: .venv in the repository); PYTHON: the Python to make it with (default: the best one found).

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$repository/.venv}

fail() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

# Print the path of a Python that is new enough. 3.12 and 3.11 first: every engine has wheels for these.
find_python() {
    local name path
    for name in ${PYTHON:+"$PYTHON"} python3.12 python3.11 python3.13 python3; do
        path=$(command -v "$name" 2>/dev/null) || continue
        if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$path"
            return
        fi
    done
    return 1
}

# See to `venv` and `ensurepip`, which Debian and Ubuntu keep in a package of their own.
check_venv() {
    local python=$1 package
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        printf '%-17s %s\n' environment "installing $package"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null || true
    fi
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        fail "$python has no venv module; install it first (Debian, Ubuntu: sudo apt-get install $package)"
}

# make_environment EXTRAS: install the package, editable, with these extras. Nothing is done if that was done before
# for the same pyproject.toml: a stamp in the environment says so.
make_environment() {
    local extras=$1 python stamp state
    if [ ! -x "$VENV/bin/python" ]; then
        python=$(find_python) || fail "Python 3.11 or newer is needed${PYTHON:+ (PYTHON=$PYTHON is not)}; found:" \
            "$(python3 --version 2>/dev/null || printf 'no python3'). Install one, or name one: PYTHON=/path/to/python3.12 $0"
        check_venv "$python"
        printf '%-17s %s\n' environment "making $VENV with $("$python" --version)"
        # in case an interrupted attempt left a part of it
        "$python" -m venv --clear "$VENV" || fail "the environment $VENV cannot be made"
    fi
    stamp=$VENV/.installed-${extras//,/-}
    state="$repository $(cksum <"$repository/pyproject.toml")"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && [ -x "$VENV/bin/aiida-pyacemaker" ]; then
        printf '%-17s %-14s %s\n' environment 'already there' "$VENV"
    else
        printf '%-17s %s\n' environment "installing aiida-pyacemaker[$extras] in $VENV (a minute or two)"
        # the pip of Python 3.11 fails on the requirements of aiida-quantumespresso: newest pip first
        "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --upgrade pip &&
            "$VENV/bin/python" -m pip install -qq --editable "$repository[$extras]" ||
            fail "pip could not install aiida-pyacemaker[$extras]; see above"
        printf '%s\n' "$state" >"$stamp"
        printf '%-17s %-14s %s\n' environment installed "$VENV"
    fi
    export PATH="$VENV/bin:$PATH" VIRTUAL_ENV="$VENV"
}
