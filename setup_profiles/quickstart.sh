#!/usr/bin/env bash
# From nothing to a potential: environment, engines, AiiDA profile, codes, pseudopotentials, daemon, and then the
# aluminium example. Everything that is there already is left alone; run it as often as you like.
set -euo pipefail

usage() {
    cat <<USAGE
usage: setup_profiles/quickstart.sh [--setup-only] [--profile NAME] [--lmp PATH] [--pw PATH] [--pseudo-dir DIR]

  --setup-only      set up, but do not start the aluminium example
  --profile NAME    AiiDA profile to use (default: pyacemaker)
  --lmp PATH        the lmp to use: LAMMPS built with ML-PACE
  --pw PATH         the pw.x of Quantum ESPRESSO to use
  --pseudo-dir DIR  folder with your own pseudopotentials

Environment: VENV, the folder of the Python environment (default: .venv in the repository); PYTHON, the Python to make
it with. It needs Python 3.11 or newer and git. As root, missing engines come from the package manager.
USAGE
}

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run=yes
profile=pyacemaker
options=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit ;;
        --setup-only) run=no; shift ;;
        --profile | --lmp | --pw | --pseudo-dir)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help"
            [ "$1" != --profile ] || profile=$2
            options+=("$1" "$2")
            shift 2
            ;;
        *) fail "unknown option $1; see --help" ;;
    esac
done

make_environment engines,structures
aiida-pyacemaker setup all --yes ${options[@]+"${options[@]}"}
[ "$run" = yes ] || exit 0
aiida-pyacemaker launch "$repository/examples/aluminium.yaml" --profile "$profile" --wait --once
