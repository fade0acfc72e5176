# The environment that the scripts here share: sourced by launch, dayfly and test, never run.
#
# Sets `root` (the repository) and `python` (its environment's), and makes sure that what is locked is
# installed. That everything is in place is checked at every start, in some 30 ms; making it so is the work
# of environment.py.

umask 022
self=$(readlink -f -- "$0" 2>/dev/null) || self=$0
root=$(CDPATH='' cd -- "$(dirname -- "$self")/.." && pwd -P) || exit 1
python=$root/.venv/bin/python

# Print the first Python that is new enough; $PYTHON, if it is set, is the only one asked.
find_python() {
    [ -n "${PYTHON:-}" ] && set -- "$PYTHON" || set -- python3 python3.13 python3.12 python3.11
    seen=
    for candidate in "$@"; do
        version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
        case $version in
            3.[0-9].* | 3.10.* | [0-2].*) seen="$seen $candidate is $version;" ;;
            *)
                printf '%s\n' "$candidate"
                return
                ;;
        esac
    done
    printf 'Dayfly needs Python 3.11 or newer; looked for %s; found:%s\n' "$*" "${seen:- none}" >&2
    printf 'Install one, or say where one is: PYTHON=/path/to/python3.12 %s\n' "$0" >&2
    return 1
}

# prepare runtime|dev: make sure that what is locked for that is installed.
prepare() {
    if [ -z "${PYTHON:-}" ] && [ -x "$python" ] &&
        "$python" -I -S "$root/scripts/environment.py" check "$1" 2>/dev/null; then
        return
    fi
    found=$(find_python) || exit 1
    "$found" -I "$root/scripts/environment.py" "$1" || exit 1
}

# Run this project's command from whatever folder we are in; -P keeps that folder out of the imports.
run_dayfly() {
    PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -P -m node "$@"
}
