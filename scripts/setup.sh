#!/usr/bin/env bash
# Installs by name what is missing, and says what and why. As root on Debian it uses apt; elsewhere it explains.
#
#   scripts/setup.sh [make] [build] [plugins] [supervisord] [monit] [schemathesis] [oidc] [kosoku] [uws] [curl]
#
# Exit codes: 0 all there, 64 no such name, 69 something is missing and has to be installed by hand.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

supervisor_version=4.3.0
venv=target/tools/supervisor-venv
schemathesis_version=4.32.5
schemathesis=target/tools/schemathesis-venv
kosoku_version=0.1.0
kosoku=target/tools/kosoku-venv
oidc_provider_version=9.13.3
oidc=target/tools/oidc
uws_version=3.0.6
uws=target/tools/uws
is_apt_updated=no
missing=0

say() { printf 'setup: %s\n' "$*" >&2; }

# wants WHY HOW PACKAGE...: installs the packages, or says how to get what they hold.
wants() {
    local why=$1 how=$2
    shift 2
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "$why is missing. $how"
        missing=1
        return 1
    fi
    say "$why is missing: installing $* with apt-get"
    if [ "$is_apt_updated" = no ]; then
        apt-get update -qq >&2
        is_apt_updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

need_make() {
    command -v make >/dev/null || wants "make" "Install GNU make." make || true
}

need_curl() {
    command -v curl >/dev/null || wants "curl" "Install curl." curl || true
}

need_build() {
    need_make
    if ! command -v cargo >/dev/null; then
        say "Rust is missing. Install version 1.95 or newer as https://www.rust-lang.org/tools/install says."
        missing=1
    fi
    command -v cc >/dev/null || wants "a C linker" "Install a C compiler, e.g. gcc." gcc libc6-dev || true
}

has_wasm_target() {
    local libraries
    libraries=$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) &&
        compgen -G "$libraries/libcore-*.rlib" >/dev/null
}

has_debian_compiler() {
    [ -d /usr/share/doc/rustc-web ] && [ -d /usr/share/doc/cargo-web ] && [ -d /usr/share/doc/rust-web-src ]
}

need_plugins() {
    has_wasm_target || has_debian_compiler ||
        wants "Rust for wasm32-unknown-unknown" "Run: rustup target add wasm32-unknown-unknown" \
            rustc-web cargo-web rust-web-src || true
}

# has_pip FOLDER PACKAGE VERSION: that it is there, and can be run where it is. What such a folder holds does not run after
# it was moved.
has_pip() {
    "$1/bin/pip" --version >/dev/null 2>&1 &&
        "$1/bin/python" -c "import importlib.metadata as m; assert m.version('$2') == '$3'" 2>/dev/null
}

# need_pip FOLDER PACKAGE VERSION
need_pip() {
    if has_pip "$@"; then return; fi
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        wants "Python with venv" "Install Python 3.10 or newer with its venv module." python3 python3-venv || return 0
    fi
    say "$2 $3 is missing: installing it from PyPI into $1"
    rm -rf "$1"
    mkdir -p "$(dirname "$1")"
    python3 -m venv "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check "$2==$3" >&2
    has_pip "$@" || { say "$2 $3 does not run from $1"; missing=1; }
}

need_monit() {
    command -v monit >/dev/null || wants "monit, against which its adapter is tested," "Install monit 5.33." monit || true
}

# has_npm FOLDER PACKAGE VERSION
has_npm() {
    grep -q "\"version\": \"$3\"" "$1/node_modules/$2/package.json" 2>/dev/null
}

# need_npm FOLDER PACKAGE VERSION: into a folder of its own; nothing in it needs to run anything to be installed.
need_npm() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        wants "Node.js with npm" "Install Node.js 20 or newer with npm." nodejs npm || return 0
    fi
    if has_npm "$@"; then return; fi
    say "$2 $3 is missing: installing it from npm into $1"
    rm -rf "$1"
    mkdir -p "$1"
    npm install --prefix "$1" --no-audit --no-fund --ignore-scripts --silent "$2@$3" >&2
    has_npm "$@" || { say "$2 $3 is not in $1"; missing=1; }
}

for name in "$@"; do
    case $name in
        make) need_make ;;
        build) need_build ;;
        plugins) need_plugins ;;
        supervisord) need_pip "$venv" supervisor "$supervisor_version" ;;
        monit) need_monit ;;
        schemathesis) need_pip "$schemathesis" schemathesis "$schemathesis_version" ;;
        # The cases of the Autobahn suite for WebSockets.
        kosoku) need_pip "$kosoku" kosoku "$kosoku_version" ;;
        oidc) need_npm "$oidc" oidc-provider "$oidc_provider_version" ;;
        # A peer of the feed's bench, 260 MB.
        uws) need_npm "$uws" uwebsockets "$uws_version" ;;
        curl) need_curl ;;
        *) say "there is no \`$name\` to set up"; exit 64 ;;
    esac
done
[ "$missing" = 0 ] || exit 69
