#!/usr/bin/env bash
# Asks a live server everything that its own OpenAPI document allows, and much that it does not, and holds every answer
# against the document. Needs a built binary and `scripts/setup.sh schemathesis`.
#
# SCHEMATHESIS_SEED repeats a run; SCHEMATHESIS_SECONDS is how long it may take, 180 unless given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

omnivisor=${OMNIVISOR_BINARY:-${CARGO_TARGET_DIR:-target}/debug/omnivisor}
schemathesis=$PWD/target/tools/schemathesis-venv/bin/schemathesis
seed=${SCHEMATHESIS_SEED:-4711}
seconds=${SCHEMATHESIS_SECONDS:-180}
folder=$(mktemp -d)
server=
password=omnivisor-schemathesis

end() {
    local status=$?
    trap - EXIT
    if [ -n "$server" ]; then
        kill -s TERM "$server" 2>/dev/null || true
        wait "$server" || status=$?
    fi
    [ "$status" = 0 ] || grep -E '^[^ ]+ +(ERROR|WARN)' "$folder/server.log" | tail -40 || true
    rm -rf "$folder"
    exit "$status"
}
trap end EXIT

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
cat >"$folder/omnivisor.toml" <<TOML
[server]
listen = "127.0.0.1:$port"
[storage]
path = "$folder/omnivisor.redb"
[plugins]
directory = "$PWD/target/plugins"
cache_directory = "$folder/cache"
[plugins.validate_limits]
time_ms = 5000
[[node]]
name = "alpha"
url = "http://127.0.0.1:1"
TOML
printf '%s' "$password" >"$folder/password"
chmod 600 "$folder/password"
"$omnivisor" init --config "$folder/omnivisor.toml" --username admin --password-file "$folder/password"
"$omnivisor" serve --config "$folder/omnivisor.toml" >"$folder/server.log" 2>&1 &
server=$!
for _ in $(seq 600); do
    ! curl -fsS "$url/readyz" >/dev/null 2>&1 || break
    sleep 0.1
done
token=$(curl -fsS "$url/api/v1/login" -H 'Content-Type: application/json' \
    -d "{\"username\":\"admin\",\"password\":\"$password\"}" | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')

printf 'schemathesis: seed %s, at most %s s\n' "$seed" "$seconds"
# What ends sessions would end the one that asks; the feed's routes answer with a connection or without an end.
"$schemathesis" --config-file scripts/schemathesis.toml run "$url/api/openapi.json" --url "$url" --header "Authorization: Bearer $token" \
    --seed "$seed" --max-time "$seconds" --continue-on-failure --no-color --generation-database none --request-timeout 60 \
    --exclude-path /api/v1/logout --exclude-path-regex sessions --exclude-path /api/v1/feed --exclude-path /api/v1/feed/events "$@"
