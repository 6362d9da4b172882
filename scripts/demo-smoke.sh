#!/usr/bin/env bash
# Runs the demo as a newcomer would, and holds it to its word: it comes up, a restart shows on the feed, SIGTERM leaves
# nothing, and a run that was killed is cleaned up by the next.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export DEMO_DIR=target/demo-smoke
folder=$(realpath -m "$DEMO_DIR")
omnivisor=${CARGO_TARGET_DIR:-target}/debug/omnivisor
scratch=$(mktemp -d)
demo=
watch=

fail() {
    printf 'demo-smoke: %s\n' "$*" >&2
    for file in "$scratch/demo.log" "$folder/omnivisor.log" "$scratch/watch"; do
        [ ! -s "$file" ] || { printf -- '--- %s\n' "$file"; tail -n 20 "$file"; } >&2
    done
    exit 1
}

clean() {
    local status=$?
    [ -z "$watch" ] || kill "$watch" 2>/dev/null || true
    if [ -n "$demo" ] && kill -s TERM "$demo" 2>/dev/null; then wait "$demo" || true; fi
    # Only after a failure is there anything left, and all of it carries this folder's mark.
    family | xargs -r kill -s KILL 2>/dev/null || true
    rm -rf "$scratch"
    exit $status
}
trap clean EXIT

# within SECONDS WHAT COMMAND...
within() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt "$end" ] || fail "not in time: $what"
        sleep 0.2
    done
}

family() { { grep -lzxF "OMNIVISOR_DEMO=$folder" /proc/[0-9]*/environ 2>/dev/null || true; } | cut -d/ -f3; }
is_up() {
    kill -0 "$demo" 2>/dev/null || fail "the demo ended"
    # Not demo.json: the one of a run that was killed is there from the start.
    grep -q 'Omnivisor is at' "$scratch/demo.log"
}
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$folder/demo.json"; }
api() { curl -fsS --max-time 30 -H "Authorization: Bearer $token" "$@"; }
live_nodes() { api "$url/api/v1/nodes" | grep -o '"state":"live[^"]*"' | wc -l; }
all_live() { [ "$(live_nodes)" = 3 ]; }
watch_has() { grep -q -e "$1" "$scratch/watch"; }
shows_restart() {
    local word
    for word in stopped running; do
        grep '"t":"ev"' "$scratch/watch" | grep '"id":"web:web_00"' | grep -q "\"state\":\"$word\"" || return 1
    done
}

start() {
    # Emptied here, since the background job does so later than the first look for its words.
    : >"$scratch/demo.log"
    scripts/demo.sh >>"$scratch/demo.log" 2>&1 &
    demo=$!
    within 600 "the demo is up" is_up
    url=$(member url)
    printf '{"username":"%s","password":"%s"}' "$(member username)" "$(member password)" >"$scratch/login"
    token=$(curl -fsS --max-time 30 -H 'Content-Type: application/json' --data @"$scratch/login" "$url/api/v1/login" |
        sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
    [ -n "$token" ] || fail "no token at login"
    within 60 "three nodes are live" all_live
}

# The demo ends in time, with success, and leaves nothing.
end_with_nothing_left() {
    local status=0
    kill -s TERM "$demo"
    within 60 "the demo ended" eval '! kill -0 "$demo" 2>/dev/null'
    wait "$demo" || status=$?
    demo=
    [ "$status" = 0 ] || fail "the demo ended with exit code $status"
    [ -z "$(family)" ] || fail "left running: $(family)"
    [ ! -e "$folder" ] || fail "$folder is still there"
    if curl -fs -o /dev/null --max-time 2 "$url/livez"; then fail "the server still answers"; fi
}

start
[ "$(stat -c %a "$folder/demo.json")" = 600 ] || fail "others may read demo.json"
[ "$(stat -c %a "$folder")" = 700 ] || fail "others may look into $folder"
if scripts/demo.sh >"$scratch/second.log" 2>&1; then fail "a second demo in the same folder was not refused"; fi
OMNIVISOR_TOKEN=$token HOME=$scratch "$omnivisor" watch --json --server "$url" >"$scratch/watch" 2>&1 </dev/null &
watch=$!
within 20 "the feed's snapshot" watch_has '"t":"ready"'
outcome=$(api -X POST "$url/api/v1/nodes/alpha/processes/web:web_00/restart")
case $outcome in *'"outcome":"done"'*) ;; *) fail "the restart: $outcome" ;; esac
within 20 "the restart on the feed" shows_restart
kill "$watch"
wait "$watch" || true
watch=
end_with_nothing_left

start
kill -s KILL "$demo"
wait "$demo" 2>/dev/null || true
[ -n "$(family)" ] || fail "nothing outlived kill -9, so cleaning up is not tested"
start
grep -q 'left .* processes behind' "$scratch/demo.log" || fail "the next run did not say that it cleaned up"
end_with_nothing_left
echo "demo-smoke: 2 passed, 0 failed"
