#!/usr/bin/env bash
# Three real supervisords with a few programs each, and a server that watches them. Ctrl-C or SIGTERM ends all of it.
#
# All that it starts carries the variable OMNIVISOR_DEMO with this demo's folder, so a later run can tell what one that
# was killed left behind from everything else on the machine. DEMO_DIR names another folder than `.demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

nodes=(alpha bravo charlie)
folder=$(realpath -m "${DEMO_DIR:-.demo}")
target=${CARGO_TARGET_DIR:-target}
omnivisor=${OMNIVISOR_BINARY:-$target/debug/omnivisor}
supervisord=$PWD/target/tools/supervisor-venv/bin/supervisord
children=()
username=admin

say() { printf 'demo: %s\n' "$*"; }

# Everything alive that this demo, or one before it in the same folder, started.
family() {
    local file
    for file in /proc/[0-9]*/environ; do
        if grep -qzxF "OMNIVISOR_DEMO=$folder" "$file" 2>/dev/null; then
            file=${file#/proc/}
            printf '%s\n' "${file%/environ}"
        fi
    done
}

# Ends the whole family. Three looks in a row have to find nobody: a process in the middle of `exec` shows no
# environment, and a supervisor may start another program between a look and its end.
end_family() {
    local looks=0 pids
    while [ $looks -lt 3 ]; do
        mapfile -t pids < <(family)
        if [ ${#pids[@]} = 0 ]; then
            looks=$((looks + 1))
        else
            looks=0
            kill -s KILL "${pids[@]}" 2>/dev/null || true
        fi
        sleep 0.1
    done
}

is_demo() {
    [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" | grep -q 'demo\.sh'
}

# until_gone SECONDS PID...: whether all are gone in time.
until_gone() {
    local end=$((SECONDS + $1)) pid
    shift
    for pid in "$@"; do
        while kill -0 "$pid" 2>/dev/null; do
            [ $SECONDS -lt "$end" ] || return 1
            sleep 0.1
        done
    done
}

# The server first, so that it does not report each node as lost; then the nodes, which end their programs.
stop() {
    local status=$? pid
    trap '' INT TERM
    trap - EXIT
    [ ${#children[@]} = 0 ] || say "stopping"
    for ((at = ${#children[@]} - 1; at >= 0; at--)); do
        pid=${children[$at]}
        kill -s CONT "$pid" 2>/dev/null || true
        kill -s TERM "$pid" 2>/dev/null || true
        [ "$at" != $((${#nodes[@]})) ] || until_gone 15 "$pid" || true
    done
    [ ${#children[@]} = 0 ] || until_gone 20 "${children[@]}" || true
    [ ${#children[@]} = 0 ] || end_family
    rm -rf "$folder"
    exit "$status"
}

free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s' "$port"
            return
        fi
    done
    say "no free port was found" >&2
    return 1
}

random() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }

clean_up_after_the_last() {
    local left
    if [ -r "$folder/demo.pid" ] && is_demo "$(cat "$folder/demo.pid")"; then
        say "a demo is running in $folder already, as process $(cat "$folder/demo.pid")" >&2
        exit 69
    fi
    mapfile -t left < <(family)
    if [ ${#left[@]} -gt 0 ]; then
        say "a demo that was killed left ${#left[@]} processes behind: ending them"
        end_family
    fi
    rm -rf "$folder"
}

write_programs() {
    mkdir "$folder/programs"
    printf 'exec sleep 86400\n' >"$folder/programs/web.sh"
    printf 'n=0\nwhile :; do n=$((n + 1)); echo "tick $n"; sleep 1; done\n' >"$folder/programs/ticker.sh"
    printf 'sleep 4\necho "out of luck" >&2\nexit 3\n' >"$folder/programs/flaky.sh"
    printf "trap 'echo closing; sleep 4; exit 0' TERM\nwhile :; do sleep 0.2; done\n" >"$folder/programs/drain.sh"
}

# program NAME LINE...
program() {
    printf '\n[program:%s]\ncommand=sh %s/programs/%s.sh\nstdout_logfile_maxbytes=1MB\nstdout_logfile_backups=0\n' "$1" "$folder" "$1"
    shift
    [ $# = 0 ] || printf '%s\n' "$@"
}

# start_node NAME: a supervisord in its own folder, on a port of its own, behind its own password.
start_node() {
    local name=$1 home=$folder/$1 port password end pid
    mkdir "$home"
    password=$(random)
    printf '%s\n' "$password" >"$home/password"
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        {
            printf '[supervisord]\nidentifier=%s\nnodaemon=true\nlogfile=%s/supervisord.log\n' "$name" "$home"
            printf 'pidfile=%s/supervisord.pid\nchildlogdir=%s\nminfds=256\n' "$home" "$home"
            printf '\n[inet_http_server]\nport=127.0.0.1:%s\nusername=demo\npassword=%s\n' "$port" "$password"
            printf '\n[rpcinterface:supervisor]\n'
            printf 'supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n'
            program web numprocs=3 'process_name=%(program_name)s_%(process_num)02d'
            program ticker
            program flaky autorestart=true
            program drain stopwaitsecs=10
        } >"$home/supervisord.conf"
        OMNIVISOR_DEMO=$folder "$supervisord" -c "$home/supervisord.conf" >"$home/supervisord.out" 2>&1 </dev/null &
        pid=$!
        children+=("$pid")
        end=$((SECONDS + 30))
        while kill -0 "$pid" 2>/dev/null; do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                printf '\n[[node]]\nname = "%s"\nenvironment = "demo"\nurl = "http://127.0.0.1:%s"\n' "$name" "$port"
                printf 'username = "demo"\npassword_file = "%s/password"\n' "$home"
                return
            fi
            [ $SECONDS -lt "$end" ] || break
            sleep 0.1
        done
        unset 'children[-1]'
    done >>"$folder/omnivisor.toml"
    say "supervisord for $name does not start:" >&2
    cat "$home/supervisord.out" >&2
    return 1
}

start_server() {
    local config=$folder/omnivisor.toml end pid port
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        url=http://127.0.0.1:$port
        sed -i "s|^listen = .*|listen = \"127.0.0.1:$port\"|" "$config"
        OMNIVISOR_DEMO=$folder "$omnivisor" serve --config "$config" >"$folder/omnivisor.log" 2>&1 </dev/null &
        pid=$!
        children+=("$pid")
        end=$((SECONDS + 60))
        while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt "$end" ]; do
            if curl -fs -o /dev/null --max-time 2 "$url/readyz"; then return; fi
            sleep 0.1
        done
        grep -qi 'in use' "$folder/omnivisor.log" || break
        unset 'children[-1]'
    done
    say "the server does not start:" >&2
    tail -n 20 "$folder/omnivisor.log" >&2
    return 1
}

[ -d /proc/self ] || { say "this demo needs Linux with /proc" >&2; exit 69; }
scripts/setup.sh build plugins supervisord curl
say "building the plugins and the server (a debug build, which is there soonest; the first time takes some minutes)"
scripts/build-plugins.sh
# Whoever has built it already says where it is: alone it has fewer features, and its engine would be built again.
[ -n "${OMNIVISOR_BINARY:-}" ] || cargo build --locked --workspace --bin omnivisor

umask 077
clean_up_after_the_last
mkdir -p "$folder"
trap stop EXIT
# Not `exit 130`: to end the demo is no failure.
trap 'exit 0' INT TERM
printf '%s\n' $$ >"$folder/demo.pid"
write_programs
plugins=$(realpath "$target/plugins")
cat >"$folder/omnivisor.toml" <<TOML
[server]
listen = "127.0.0.1:0"

[storage]
path = "$folder/omnivisor.redb"

[plugins]
directory = "$plugins"
cache_directory = "$folder/cache"
TOML
say "starting supervisord for ${nodes[*]}"
for node in "${nodes[@]}"; do start_node "$node"; done
password=$(random)
printf '%s\n' "$password" >"$folder/admin.password"
"$omnivisor" init --config "$folder/omnivisor.toml" --username "$username" --password-file "$folder/admin.password" \
    >"$folder/init.log" 2>&1 || { cat "$folder/init.log" >&2; exit 70; }
say "starting the server"
start_server
printf -v names '"%s",' "${nodes[@]}"
printf '{"url":"%s","username":"%s","password":"%s","nodes":[%s]}\n' "$url" "$username" "$password" "${names%,}" \
    >"$folder/demo.json.new"
mv "$folder/demo.json.new" "$folder/demo.json"
shown=${folder#"$PWD"/}
cat <<TEXT

  Omnivisor is at   $url
  user name         $username
  password          $password        (all of this also in $shown/demo.json)

  In another terminal, in $PWD:

    $omnivisor login --server $url --username $username --password-file $shown/admin.password
    $omnivisor status
    $omnivisor watch

  The server's log is $shown/omnivisor.log. Ctrl-C here ends everything.

TEXT
wait "${children[-1]}" || true
say "the server ended by itself:" >&2
tail -n 20 "$folder/omnivisor.log" >&2
exit 70
