#!/usr/bin/env bash
# Everything that CI runs, the quick things first; ends at the first step that fails. `scripts/test.sh lint` runs the
# quick checks alone. Needs nothing installed beforehand but Rust: see scripts/setup.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

what=${1:-all}
steps=()
passed=0
current=
# A build that is made once and thrown away gains nothing from being incremental.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

report() {
    local status=$?
    trap - EXIT
    printf '\n'
    [ ${#steps[@]} = 0 ] || printf '%s\n' "${steps[@]}"
    if [ $status -ne 0 ]; then
        printf '%6s s  %s: FAILED, exit code %s\n' "$((SECONDS - begin))" "$current" "$status"
    fi
    printf '%6s s  in all\n' "$SECONDS"
    if [ $status -eq 0 ]; then
        printf 'steps: %s passed, 0 failed\n' "$passed"
    else
        printf 'steps: %s passed, 1 failed\n' "$passed"
    fi
    exit $status
}
trap report EXIT

# step NAME COMMAND...
step() {
    current=$1
    begin=$SECONDS
    shift
    printf '\n== %s: %s\n' "$current" "$*"
    "$@"
    steps+=("$(printf '%6s s  %s' "$((SECONDS - begin))" "$current")")
    passed=$((passed + 1))
}

# skip NAME WHY
skip() {
    printf '\n== %s: skipped, %s\n' "$1" "$2"
    steps+=("$(printf '%6s    %s (skipped: %s)' '-' "$1" "$2")")
}

# For the step of that name alone: among the other tests ten seconds are enough.
fuzz_seconds=${OMNIVISOR_FUZZ_SECONDS:-60}
unset OMNIVISOR_FUZZ_SECONDS

begin=0
profile=default
[ -z "${CI:-}" ] || profile=ci
if [ "$what" = lint ]; then
    step setup scripts/setup.sh build
else
    step setup scripts/setup.sh build plugins supervisord monit schemathesis oidc kosoku curl
fi
# Where setup puts it, unless somebody has another.
export OMNIVISOR_SUPERVISORD=${OMNIVISOR_SUPERVISORD:-$PWD/target/tools/supervisor-venv/bin/supervisord}
step format cargo fmt --all --check
step rules cargo test --quiet --locked -p tests --no-default-features --test tidy
step clippy cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
step documentation env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --locked
[ "$what" != lint ] || exit 0

step plugins scripts/build-plugins.sh
# With the tests, so that dependencies have the features of both and are built once.
step build cargo build --locked --workspace --bins --tests
if command -v cargo-nextest >/dev/null; then
    step tests cargo nextest run --workspace --locked --profile "$profile"
else
    step tests cargo test --workspace --lib --bins --tests --locked
fi
# The short forms of the benches that need many sockets; figures are for `make bench`.
step load cargo test --quiet --locked --workspace --bench feed --bench load -- --smoke
step schemathesis scripts/schemathesis.sh
step packing cargo test --quiet --locked -p plugin-sdk --features pack --lib --bins
step fuzz env OMNIVISOR_FUZZ_SECONDS="$fuzz_seconds" \
    cargo test --quiet --locked -p tests --test hostile -- --nocapture fuzz
step examples cargo test --quiet --doc --workspace --locked
step demo env OMNIVISOR_BINARY="${CARGO_TARGET_DIR:-target}/debug/omnivisor" scripts/demo-smoke.sh
if command -v cargo-deny >/dev/null; then
    step dependencies cargo deny --offline check bans licenses sources
else
    skip dependencies "cargo-deny is not installed"
fi
