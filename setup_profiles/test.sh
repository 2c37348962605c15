#!/usr/bin/env bash
# All checks and tests, with all their set-up: environment, engines, linters, documentation, pytest.
# Further arguments go to pytest. The user's AiiDA profiles are not touched: the tests make their own.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

make_environment engines,structures,tests,docs
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
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

check lint ruff check .
check format ruff format --check .
check imports lint-imports
check docs sphinx-build -W --keep-going -q -b html docs "$scratch/docs"
check tests python -m pytest "$@"

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfailed: %s\n' "${failed[*]}"
    exit 1
fi
printf '\nall passed\n'
