# Functions that serve, check and test share. To be sourced with the project directory as working directory.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Prints the newest Python from 3.11 on that is in PATH. One that can make virtual environments is preferred.
find_python() {
    local name without_venv=""
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        command -v "$name" >/dev/null 2>&1 || continue
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
        without_venv="${without_venv:-$name}"
    done
    [ -n "$without_venv" ] || return 1
    printf '%s\n' "$without_venv"
}

# Prints what to put before a command that needs root; fails where that cannot be had without a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        printf ''
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        printf 'sudo -n'
    else
        return 1
    fi
}

# Installs Debian or Ubuntu packages; fails with a message where that is not possible.
# Services that come with packages are not started: tests start their own, on ports of their own.
apt_install() {
    local sudo guard=/usr/sbin/policy-rc.d guarded=0 status=0
    command -v apt-get >/dev/null 2>&1 || { say "No apt-get here. Please install: $*"; return 1; }
    sudo="$(as_root)" || { say "Not root, and no sudo without a password. Please run: apt-get install $*"; return 1; }
    say "Installing $*"
    if [ ! -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee "$guard" >/dev/null
        $sudo chmod 755 "$guard"
        guarded=1
    fi
    { $sudo apt-get update -qq &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >&2 || status=$?
    [ "$guarded" = 0 ] || $sudo rm -f "$guard"
    return "$status"
}

# make_venv EXTRA: makes .venv with the project installed, or brings it up to date. EXTRA is such as "[test]".
make_venv() {
    local extra="$1" stamp=".venv/installed$1" python
    if [ -e "$stamp" ] && [ ! setup.cfg -nt "$stamp" ] && [ -x .venv/bin/python ] &&
        .venv/bin/python -c 'import rtmpsrv, gevent' 2>/dev/null; then
        return
    fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        python="$(find_python)" || die "Python 3.11 or newer is needed, and none is in PATH ($PATH)"
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            apt_install python3-venv || die "$python cannot make virtual environments without python3-venv"
            "$python" -c 'import ensurepip, venv' 2>/dev/null ||
                die "$python cannot make virtual environments; python3-venv did not help"
        fi
        say "Making .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv || die "the virtual environment could not be made"
    fi
    say "Installing rtmpsrv$extra into .venv"
    env -u RTMPSRV_COMPILE .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".$extra" ||
        die "the installation of rtmpsrv$extra failed"
    touch "$stamp"
}

# Fails where the Python of .venv cannot have C compiled.
can_compile() {
    local compiler include
    read -r compiler include < <(.venv/bin/python -c '
import sysconfig
print(sysconfig.get_config_var("CC").split()[0], sysconfig.get_path("include"))')
    printf '#include <Python.h>\n' | "${CC:-$compiler}" -I"$include" -fsyntax-only -x c - 2>/dev/null
}

# make_compiled: makes build/compiled, a copy of the project whose server is compiled. It uses .venv, which must
# be there. The server is built anew only when its sources have changed; tests, scripts and the like always are
# as they stand.
make_compiled() {
    local made=build/compiled sources version copy status=0
    version="$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    sources="$version
$(find rtmpsrv config/build_backend.py setup.py setup.cfg pyproject.toml -type f -not -name '*.pyc' \
        -exec sha256sum {} + | sort)"
    if [ "$(cat "$made/sources" 2>/dev/null)" != "$sources" ]; then
        can_compile || apt_install gcc libc6-dev "python$version-dev" || say "The installation failed."
        can_compile || die "the compiled build needs a C compiler and the headers of Python $version"
        say "Compiling the server into $made"
        rm -rf build
        # A build writes beside its sources, where tests may look.
        copy="$(mktemp -d)"
        cp -R rtmpsrv config setup.py setup.cfg pyproject.toml README.md LICENSE "$copy"
        RTMPSRV_COMPILE=1 .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --target "$made" "$copy" || status=$?
        rm -rf "$copy"
        [ "$status" = 0 ] || die "the server could not be compiled"
        printf '%s\n' "$sources" >"$made/sources"
    fi
    rm -rf "$made"/{tests,scripts,examples,docs,config}
    cp -R tests scripts examples docs config "$made"
    cp setup.py setup.cfg README.md "$made"
    ln -sfn ../../.venv "$made/.venv"
}

# run_compiled PYTEST_ARGUMENT...: tests the compiled server, and that each build reads what the other one pickles.
run_compiled() {
    local python="$PWD/.venv/bin/python"
    make_compiled
    step .venv/bin/python -m tests.states write build/pickled-by-python
    cd build/compiled
    step "$python" -m tests.states check ../pickled-by-python
    step "$python" -m tests.states write ../pickled-by-compiled
    PYTHON="$python" RTMPSRV_EXPECT_COMPILED=1 test_step -q "$@"
    cd ../..
    step .venv/bin/python -m tests.states check build/pickled-by-compiled
}

# What the unit tests have to see of the server, by lines and branches: all of what follows from nothing but its
# arguments, and most of the rest; what is left starts the process, and is seen by tests/integration.
WHOLLY_COVERED="rtmpsrv/protocol/*,rtmpsrv/media/*,rtmpsrv/live/*,rtmpsrv/server/intake.py"
WHOLLY_COVERED="$WHOLLY_COVERED,rtmpsrv/settings.py,rtmpsrv/config.py"
COVERED_PERCENT=95

# run_unit_tests PYTEST_ARGUMENT...: in as many processes as there are cores. Without arguments it notes what they
# cover, for `check_coverage`.
run_unit_tests() {
    local measure="--cov --cov-report="
    [ $# = 0 ] || measure=""
    # shellcheck disable=SC2086 # none or two words
    test_step -q -n auto --dist worksteal $measure tests/unit "$@"
}

# check_coverage: what the unit tests that ran last, all of them, have covered.
check_coverage() {
    local coverage=.venv/bin/coverage
    step "$coverage" report --include="$WHOLLY_COVERED" --show-missing --fail-under=100
    step "$coverage" report --fail-under="$COVERED_PERCENT"
}

# run_checks: what needs no tool but those in .venv.
run_checks() {
    local bin=.venv/bin
    step "$bin/ruff" check --config config/ruff.toml .
    step "$bin/ruff" format --check --config config/ruff.toml .
    step "$bin/mypy" --strict rtmpsrv tests scripts examples
    step "$bin/lint-imports"
    step "$bin/python" scripts/settings_doc.py --check
    step "$bin/python" scripts/api_doc.py --check
    step "$bin/python" scripts/check_tests_mirror.py
}

# step COMMAND...: runs a command and remembers whether it failed, so that one run shows all that is wrong.
failed=""
step() {
    say "== $*"
    "$@" || failed="$failed
  $*"
}

# aside FUNCTION...: calls them one after the other beside what comes next, with what that leaves of the machine.
# One can be under way. It ends with the script.
aside() {
    aside_folder="$(mktemp -d)"
    trap 'kill -- "-$aside" 2>/dev/null || true; rm -rf "$aside_folder"' EXIT
    set -m # a group of its own, to be ended with all that it has started
    (
        set +m
        trap 'printf %s "$failed" >"$aside_folder/failed"' EXIT
        failed=""
        renice -n 19 -p "$BASHPID" >/dev/null
        for name in "$@"; do
            "$name"
        done
    ) >"$aside_folder/output" 2>&1 </dev/null &
    aside=$!
    set +m
}

# Waits for what runs aside, prints what that has printed, and remembers what failed.
join_aside() {
    local status=0
    wait "$aside" || status=$?
    cat "$aside_folder/output"
    failed="$failed$(cat "$aside_folder/failed")"
    [ "$status" = 0 ] || failed="$failed
  what ran aside"
    rm -rf "$aside_folder"
    trap - EXIT
}

# test_step PYTEST_ARGUMENT...: tests that share the machine. What fails is run once more, one at a time, and has
# failed if it fails again: some need more of the machine than others leave them. Both runs are printed.
test_step() {
    local python="${PYTHON:-.venv/bin/python}" status=0
    say "== pytest $*"
    "$python" -m pytest "$@" || status=$?
    [ $status != 0 ] || return 0
    say "== what failed, one at a time"
    # Any status but 1 means that not all tests were run.
    if [ $status = 1 ]; then
        "$python" -m pytest "$@" -n 0 --no-cov --last-failed --last-failed-no-failures none && return
    fi
    failed="$failed
  pytest $*"
}

# Ends the script, with a list of what failed.
finish() {
    [ -z "$failed" ] || die "failed:$failed"
    say "All passed."
}
