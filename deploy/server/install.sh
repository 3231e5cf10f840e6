#!/usr/bin/env bash
# Installs Tanyun's server on Debian 12 or 13: broker with TLS, ingest, stream, API and the checks of the open month;
# the projector when InfluxDB is configured, the deliveries when they are.
# Run it again after an upgrade, or after a change of park.toml: it changes only what has to change, and no configuration.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=../lib/common.sh source-path=SCRIPTDIR
source "$here/../lib/common.sh"

usage() {
  cat <<'TEXT'
sudo deploy/server/install.sh --park park.toml --name mqtt.park.example [--name 10.0.0.5]

  --park FILE    the registry, copied to /etc/tanyun/registry/park.toml when there is none yet
  --name HOST    what gateways connect to: host name or address, for the certificate (repeatable; kept from then on)
  --bundle DIR   install from this bundle (scripts/bundle) without a network; by default the one this script lies in
  --no-start     enable the services, do not start them
  --dry-run      show every change, make none
  -h, --help     this text

Mirrors: PIP_INDEX_URL names a package index; Debian packages come from the mirror that apt is set to.
TEXT
}

names=() park="" start=yes reload=""
while [[ $# -gt 0 ]]; do
  case "$1" in
    --park) park="$(value_of "$@")"; shift ;;
    --name) name="$(value_of "$@")"; names+=(--name "$name"); shift ;;
    --bundle) bundle="$(value_of "$@")"; shift ;;
    --no-start) start="" ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

etc=/etc/tanyun
roles=(tanyun-ingest tanyun-stream tanyun-api tanyun-checks)
park_file="$etc/registry/park.toml"
has_influx() { grep -Eqs '^[[:space:]]*\[influx\]' "$etc/server.toml"; }
has_delivery() { grep -Eqs '^[[:space:]]*delivery[[:space:]]*=' "$etc/server.toml"; }

broker_package() {
  local had=""
  if is_installed mosquitto; then had=yes; fi
  packages python3 python3-venv openssl mosquitto
  # The package's own service is for port 1883 on loopback. One that was here before is the operator's, and left alone.
  if [[ -z "$had" ]] && command -v systemctl >/dev/null; then run systemctl --quiet disable mosquitto.service; fi
}

configuration() {
  folder 0755 root "$etc"
  folder 0700 tanyun "$etc/secrets"
  # The page's form for an exchanged meter writes here; nothing else of the configuration is a role's to write.
  folder 0750 tanyun "$etc/registry"
  folder 0755 root "$etc/broker"
  folder 0700 mosquitto "$etc/broker/broker"
  folder 0700 tanyun "$etc/broker/host"
  folder 0700 root "$etc/broker/gateways"
  folder 0700 tanyun "$etc/broker/api"
  config_once "$here/server.toml" "$etc/server.toml" 0640 root tanyun
  if [[ -n "$park" ]]; then config_once "$park" "$park_file" 0640 tanyun tanyun; fi
}

checksum() { { cat "$@" 2>/dev/null || true; } | sha256sum; }

# Certificates, logins and rights; says what it wrote, and lists the mistakes in park.toml if there are any.
broker_files() {
  local folder="$etc/broker/broker" before certificate
  before="$(checksum "$folder/acl" "$folder/passwords")"
  certificate="$(checksum "$folder/server.crt" "$folder/mosquitto.conf" "$etc/broker/api/server.crt")"
  run "$prefix/venv/bin/tanyun" broker init --data "$etc/broker" --registry "$park_file" --tls --api "${names[@]}" >&2 ||
    die "the broker's files were not written, see above; correct that and run this again"
  if [[ "$(checksum "$folder/acl" "$folder/passwords")" != "$before" ]]; then reload=yes; fi
  # The rest is read at a start only.
  if [[ "$(checksum "$folder/server.crt" "$folder/mosquitto.conf" "$etc/broker/api/server.crt")" != "$certificate" ]]; then changed=yes; fi
}

services() {
  local wanted=(tanyun.target tanyun-mosquitto.service "${roles[@]/%/.service}")
  if has_influx; then wanted+=(tanyun-projector.service); fi
  if has_delivery; then wanted+=(tanyun-delivery.service); fi
  units tanyun.target tanyun-mosquitto.service "${roles[@]/%/.service}" tanyun-projector.service tanyun-delivery.service
  enable_units "${wanted[@]}"
  local seen="$prefix/share/configuration.sha256" now
  now="$(checksum "$etc/server.toml" "$park_file")"
  if [[ ! -f "$seen" || "$(<"$seen")" != "$now" ]]; then changed=yes; fi
  if [[ -z "$start" ]] || ! is_booted; then say "services are enabled, not started"; return; fi
  if [[ -n "$reload" ]] && systemctl --quiet is-active tanyun-mosquitto; then run systemctl reload tanyun-mosquitto; fi
  if [[ -n "$changed" ]]; then run systemctl restart "${wanted[@]}"; else run systemctl start "${wanted[@]}"; fi
  if [[ -z "$dry_run" ]]; then printf '%s\n' "$now" >"$seen"; fi
}

prepare
broker_package
system_user tanyun /var/lib/tanyun
environment requirements.lock venv
run ln -sfn "$prefix/venv/bin/tanyun" /usr/local/bin/tanyun
documents
configuration
if [[ ! -e "$park_file" && -z "$dry_run" ]]; then
  die "everything is installed; what is missing is the registry. Write it (docs/go-to-production.md), then run:" \
    "sudo $0 --park park.toml --name HOST"
fi
broker_files
services

say "done. Next:"
say "  sudo -u tanyun tanyun doctor --config $etc/server.toml"
say "  sudo -u tanyun tanyun user add NAME --role administrator --config $etc/server.toml    # nobody can sign in before"
say "  carry $etc/broker/gateways/ID to each gateway, and run deploy/gateway/install.sh --credentials ID there,"
say "  or let it fetch them: sudo tanyun gateway invite ID --config $etc/server.toml"
say "  keep a copy of $etc/broker/ca.key in a safe place"
if ! has_influx; then say "  InfluxDB and Grafana: docs/go-to-production.md"; fi
