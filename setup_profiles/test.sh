#!/usr/bin/env bash
# All checks and tests, with all their set-up: environment, engines, linters, types, documentation, pytest.
# Further arguments go to pytest, which runs on all cores (`-n 0`: in one process). The user's AiiDA profiles are not
# touched: the tests make their own. Types and documentation are checked beside the tests; what they say comes before
# the last line, which is pytest's.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

make_environment engines,structures,tests,docs
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT
export AIIDA_PATH=$scratch OMP_NUM_THREADS=1
cd "$repository"
aiida-pyacemaker setup engines --yes

failed=()
check() {
    local name=$1
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" || failed+=("$name")
}

# start NAME COMMAND...: run a check in the background; `finish NAME` prints what it said.
start() {
    local name=$1
    shift
    { printf '\n== %s: %s\n' "$name" "$*" && nice "$@"; } >"$scratch/$name.log" 2>&1 &
    printf '%s' $! >"$scratch/$name.pid"
}
finish() {
    wait "$(cat "$scratch/$1.pid")" || failed+=("$1")
    cat "$scratch/$1.log"
}

check lint ruff check .
check format ruff format --check .
check spelling codespell
start imports lint-imports
start types mypy
start docs sphinx-build -W --keep-going -q -b html docs "$scratch/docs"
tests() {
    python -m pytest -n "$(getconf _NPROCESSORS_ONLN)" --dist worksteal --durations=25 "$@" 2>&1 | tee "$scratch/tests.log"
}
check tests tests "$@"
finish imports
finish types
finish docs

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfailed: %s\n' "${failed[*]}"
else
    printf '\nall passed\n'
fi
tail -n 1 "$scratch/tests.log"
[ ${#failed[@]} -eq 0 ]
