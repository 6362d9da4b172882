#!/usr/bin/env bash
# Builds every crate under plugins/ into a component: TARGET_DIR/plugins/NAME.wasm.
#
# usage: scripts/build-plugins.sh [--install]
#
# A component needs Rust's library for wasm32-unknown-unknown. Tried in this order:
#   1. the default toolchain's own, if that target is installed;
#   2. Debian's compiler with its library's source, which is built once (about four minutes on two cores).
# When neither is there, the script says what to install and ends with 69; with --install, as root on Debian, it installs 2.
# TARGET_DIR is $CARGO_TARGET_DIR, or target/ beside this script's folder. When nothing has changed, nothing is built.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
guest_dir=$target_dir/guest
out_dir=$target_dir/plugins
stamp=$out_dir/.stamp
guest=wasm32-unknown-unknown
debian_packages=(rustc-web cargo-web rust-web-src)
debian_rust=/usr/lib/rustlib/src/rust/library

install=no
for argument in "$@"; do
  case $argument in
    --install) install=yes ;;
    *) echo "build-plugins: unknown option \`$argument\`; usage: scripts/build-plugins.sh [--install]" >&2; exit 64 ;;
  esac
done

say() { echo "build-plugins: $*" >&2; }

names=()
for manifest in plugins/*/Cargo.toml; do
  [ -e "$manifest" ] || continue
  names+=("$(basename "$(dirname "$manifest")")")
done
[ ${#names[@]} -gt 0 ] || { say "there is no crate under plugins/"; exit 66; }

# Everything that a component is made of. Tests and benches are not.
inputs=(Cargo.toml Cargo.lock scripts/build-plugins.sh plugin-sdk/Cargo.toml plugin-sdk/src wit)
for name in "${names[@]}"; do
  inputs+=("plugins/$name/Cargo.toml" "plugins/$name/src")
  [ ! -e "plugins/$name/plugin.toml" ] || inputs+=("plugins/$name/plugin.toml")
done

is_current() {
  [ -e "$stamp" ] || return 1
  for name in "${names[@]}"; do [ -e "$out_dir/$name.wasm" ] || return 1; done
  # The stamp holds the sum over the inputs, so a checkout that only touches files builds nothing.
  [ "$(sum)" = "$(cat "$stamp")" ]
}

sum() { find "${inputs[@]}" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; }

if is_current; then
  say "nothing has changed: $out_dir"
  exit 0
fi

has_target() {
  local library
  library=$(rustc --print target-libdir --target "$guest" 2>/dev/null) && ls "$library"/libstd-*.rlib >/dev/null 2>&1
}
has_debian() { [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d "$debian_rust/std" ] && dpkg -s rust-web-src >/dev/null 2>&1; }

linker_dir() {
  local dir
  dir=$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
  if [ -x "$dir/rust-lld" ]; then echo "$dir"; return; fi
  if command -v rust-lld >/dev/null; then dirname "$(command -v rust-lld)"; return; fi
  return 1
}

if ! has_target && ! has_debian && [ $install = yes ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "--install works for root on Debian only"
    exit 69
  fi
  say "installing ${debian_packages[*]} with apt-get"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${debian_packages[@]}" >&2
fi

cargo_options=(build --locked --profile guest --target "$guest" --target-dir "$guest_dir")
if has_target; then
  guest_cargo=(cargo "${cargo_options[@]}")
elif has_debian; then
  linker=$(linker_dir) || { say "rust-lld is missing: install Rust with rustup, or Debian's package lld"; exit 69; }
  # Unstable flags are needed to build the library; Debian's compiler and its source are of one version.
  guest_cargo=(env RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTC_WRAPPER= PATH="$linker:$PATH" CARGO_ENCODED_RUSTFLAGS=-Clinker=rust-lld
    /usr/bin/cargo "${cargo_options[@]}" -Zbuild-std=std,panic_abort)
else
  say "plugins are compiled for $guest, and Rust's library for it is not here. Install one of:"
  say "  rustup target add $guest"
  say "  apt-get install ${debian_packages[*]}      (Debian; or run this script with --install as root)"
  exit 69
fi

packages=()
for name in "${names[@]}"; do packages+=(-p "$name"); done
say "building ${names[*]} with ${guest_cargo[0]/env//usr/bin/cargo}"
before=$(sum)
"${guest_cargo[@]}" "${packages[@]}" --lib >&2
# The packing command runs here, so it is an ordinary program of the default toolchain.
cargo build --locked -q -p plugin-sdk --features pack --bin omnivisor-pack --target-dir "$target_dir" >&2

mkdir -p "$out_dir"
rm -f "$stamp"
for name in "${names[@]}"; do
  # A plugin without a manifest has no version and asks for nothing.
  manifest=()
  [ ! -e "plugins/$name/plugin.toml" ] || manifest=(--manifest "plugins/$name/plugin.toml")
  "$target_dir/debug/omnivisor-pack" "$guest_dir/$guest/guest/${name//-/_}.wasm" "${manifest[@]}" -o "$out_dir/$name.wasm"
done
echo "$before" > "$stamp"
