# Sourced by the two installers, which set dry_run and bundle from their options.
# shellcheck shell=bash

umask 022
source_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
prefix=/opt/tanyun
dry_run=""
bundle=""
scratch=""
# Set when something was replaced that running services still use. The installers read it.
# shellcheck disable=SC2034
changed=""

say() { printf '%s\n' "tanyun: $*" >&2; }
die() { say "$@"; exit 1; }
# What a dry run has not done, it does not claim.
told() { if [[ -z "$dry_run" ]]; then say "$@"; fi; }

# Every change of the machine goes through here, so that --dry-run shows all of them. Secrets are never arguments.
run() {
  if [[ -n "$dry_run" ]]; then
    printf 'would run:'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}

finish() { if [[ -n "$scratch" ]]; then rm -rf "$scratch"; fi; }
trap finish EXIT

# What the option parsers share: the value that follows an option.
value_of() { [[ $# -ge 2 && -n "$2" ]] || die "$1 needs a value"; printf '%s' "$2"; }

prepare() {
  [[ "$(id -u)" == 0 || -n "$dry_run" ]] || die "this installs for all users: run it with sudo (or with --dry-run to see what it does)"
  # shellcheck source=/dev/null
  os="$(. /etc/os-release && printf '%s %s' "${ID:-}" "${VERSION_CODENAME:-}")"
  case "$os" in
    "debian bookworm" | "debian trixie" | "raspbian bookworm" | "raspbian trixie") codename="${os#* }" ;;
    *) die "this is ${os:-an unknown system}; Debian 12 (bookworm) and 13 (trixie), and 64-bit Raspberry Pi OS on them, are supported" ;;
  esac
  arch="$(dpkg --print-architecture)"
  [[ "$arch" == amd64 || "$arch" == arm64 ]] || die "$arch is not supported: 64-bit systems only (amd64, arm64)"
  scratch="$(mktemp -d)"
  if [[ -z "$bundle" && -f "$source_root/SHA256SUMS" ]]; then bundle="$source_root"; fi
  if [[ -n "$bundle" ]]; then
    bundle="$(cd "$bundle" && pwd)" || die "no such folder: $bundle"
    [[ -f "$bundle/SHA256SUMS" ]] || die "$bundle is no bundle: it has no SHA256SUMS"
    (cd "$bundle" && sha256sum --quiet --strict --check SHA256SUMS) >&2 || die "$bundle is damaged: copy it again"
  fi
}

is_installed() { [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }

# Options that make apt see the bundle only.
bundle_apt() {
  local debs="$bundle/debs/$codename-$arch"
  printf 'deb [trusted=yes] file:%s ./\n' "$debs" >"$scratch/sources.list"
  mkdir -p "$scratch/lists/partial" "$scratch/archives/partial"
  apt_options=(-o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root
    -o Dir::State::lists="$scratch/lists" -o Dir::Cache::archives="$scratch/archives"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
}

# Debian packages that are missing. Nothing they bring is started: what is to run, our own units say.
packages() {
  local package missing=() apt_options=() policy=/usr/sbin/policy-rc.d ours="" status=0
  for package in "$@"; do is_installed "$package" || missing+=("$package"); done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "installing Debian packages: ${missing[*]}"
  if [[ -n "$bundle" && -d "$bundle/debs/$codename-$arch" ]]; then bundle_apt
  elif [[ -n "$bundle" ]]; then say "the bundle has no Debian packages for $codename-$arch: apt takes them from its usual mirror"; fi
  if [[ -n "$dry_run" ]]; then run apt-get install -y --no-install-recommends "${missing[@]}"; return; fi
  if [[ ! -e "$policy" ]]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; ours=yes; fi
  { apt-get "${apt_options[@]}" -qq update &&
    DEBIAN_FRONTEND=noninteractive apt-get "${apt_options[@]}" -qq -y --no-install-recommends install "${missing[@]}"
  } >"$scratch/apt.log" 2>&1 </dev/null || status=$?
  if [[ -n "$ours" ]]; then rm -f "$policy"; fi
  if [[ "$status" != 0 ]]; then tail -n 20 "$scratch/apt.log" >&2; die "apt-get could not install ${missing[*]}"; fi
}

system_user() {
  local name="$1" home="$2"
  if getent passwd "$name" >/dev/null; then return; fi
  # From adduser's sibling in the base system: adduser itself need not be there.
  run useradd --system --user-group --home-dir "$home" --no-create-home --shell /usr/sbin/nologin "$name"
}

pip_install() {
  local python="$1" index=()
  shift
  if [[ -n "$bundle" ]]; then index=(--isolated --no-index --find-links "$bundle/wheels"); fi
  "$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-input --root-user-action=ignore \
    "${index[@]}" "$@" >&2
}

# A virtual environment per lock file and release, and a link to the one in use: an upgrade is one rename, and so is going back.
environment() {
  local lock="$1" link="$2" from="${bundle:-$source_root}" wheel="" id folder
  if [[ -n "$bundle" ]]; then
    wheel="$(find "$bundle/wheels" -maxdepth 1 -name 'tanyun-*.whl' | sort -V | tail -n 1)"
    [[ -n "$wheel" ]] || die "$bundle/wheels has no tanyun wheel"
  fi
  id="$(fingerprint "$from/$lock" "$wheel")"
  folder="$prefix/environments/$id"
  if [[ ! -f "$folder/complete" ]]; then
    say "making $folder (Python packages of $lock)"
    if [[ -n "$dry_run" ]]; then
      run python3 -m venv "$folder"
      run "$folder/bin/python" -m pip install --require-hashes -r "$from/$lock"
    else
      mkdir -p "$prefix/environments"
      rm -rf "$folder"
      python3 -m venv "$folder"
      pip_install "$folder/bin/python" --require-hashes --only-binary :all: -r "$from/$lock" ||
        die "the packages of $lock could not be installed; a mirror is named with PIP_INDEX_URL, a bundle with --bundle"
      pip_install "$folder/bin/python" --no-deps --no-build-isolation "${wheel:-$source_root}" || die "tanyun could not be installed"
      # As root now: services may not write byte code later.
      "$folder/bin/python" -m compileall -q "$folder/lib" >/dev/null 2>&1 || true
      touch "$folder/complete"
    fi
  fi
  if [[ "$(readlink "$prefix/$link" 2>/dev/null)" != "environments/$id" ]]; then
    run ln -sfn "environments/$id" "$prefix/$link.new"
    run mv -T "$prefix/$link.new" "$prefix/$link"
    # shellcheck disable=SC2034
    changed=yes
  fi
}

# What an environment is made of. From a checkout: every file of every package.
fingerprint() {
  local lock="$1" wheel="$2"
  {
    python3 -V 2>/dev/null || true
    sha256sum <"$lock"
    if [[ -n "$wheel" ]]; then sha256sum <"$wheel"
    else (cd "$source_root" && find tanyun metering factors storage edge_agent ingest stream verification api dashboards pyproject.toml \
      -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); fi
  } | sha256sum | cut -c1-16
}

folder() { local mode="$1" owner="$2" path="$3"; run install -d -m "$mode" -o "$owner" -g "$owner" "$path"; }

# A configuration file: put there once, the operator's from then on.
config_once() {
  local from="$1" to="$2" mode="$3" owner="$4" group="$5"
  if [[ -e "$to" ]]; then
    if cmp -s "$from" "$to"; then return; fi
    say "kept $to, which differs from $from"
    return
  fi
  run install -m "$mode" -o "$owner" -g "$group" "$from" "$to"
  told "wrote $to"
}

# Ours: replaced by every release. What the operator changes belongs into drop-ins.
units() {
  local unit from to
  for unit in "$@"; do
    from="$source_root/deploy/systemd/$unit" to="/etc/systemd/system/$unit"
    if cmp -s "$from" "$to"; then continue; fi
    run install -D -m 0644 "$from" "$to"
    # shellcheck disable=SC2034
    changed=yes
  done
  if is_booted; then run systemctl daemon-reload; fi
}

is_booted() { [[ -d /run/systemd/system ]]; }

enable_units() {
  if ! command -v systemctl >/dev/null; then say "no systemd here: the units are in /etc/systemd/system, nothing is enabled"; return; fi
  run systemctl --quiet enable "$@"
}

documents() {
  run install -d -m 0755 "$prefix/share"
  if [[ -d "$source_root/docs" ]]; then run cp -R --no-preserve=ownership "$source_root/docs" "$prefix/share/"; fi
}
