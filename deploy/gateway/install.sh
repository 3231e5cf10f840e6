#!/usr/bin/env bash
# Installs Tanyun's edge agent on a gateway with Debian 12 or 13, or 64-bit Raspberry Pi OS on them.
# Run it again to upgrade: the outbox and the configuration stay as they are.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=../lib/common.sh source-path=SCRIPTDIR
source "$here/../lib/common.sh"

usage() {
  cat <<'TEXT'
sudo deploy/gateway/install.sh --credentials gw-1

  --credentials DIR    the gateway's folder from the server (/etc/tanyun/broker/gateways/ID): password, CA, edge.toml, and
                       updates.pub.pem where the gateway is to take configurations from the server
  --serial             let the agent open serial ports (RS-485): a drop-in beside the unit
  --renew-credentials  replace password and CA that are here already; edge.toml stays
  --bundle DIR         install from this bundle (scripts/bundle) without a network; by default the one this script lies in
  --no-start           enable the service, do not start it
  --dry-run            show every change, make none
  -h, --help           this text

Mirrors: PIP_INDEX_URL names a package index; Debian packages come from the mirror that apt is set to.
TEXT
}

credentials="" renew="" start=yes serial=""
while [[ $# -gt 0 ]]; do
  case "$1" in
    --credentials) credentials="$(value_of "$@")"; shift ;;
    --renew-credentials) renew=yes ;;
    --serial) serial=yes ;;
    --bundle) bundle="$(value_of "$@")"; shift ;;
    --no-start) start="" ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

etc=/etc/tanyun
user=tanyun-edge

sign_in() {
  local name
  [[ -f "$credentials/password" && -f "$credentials/edge.toml" ]] || die "$credentials has no password and edge.toml: is it the gateway's folder?"
  for name in password ca.crt client.crt client.key updates.pub.pem; do
    if [[ ! -f "$credentials/$name" ]] || cmp -s "$credentials/$name" "$etc/edge/$name"; then continue; fi
    if [[ -e "$etc/edge/$name" && -z "$renew" ]]; then
      say "kept $etc/edge/$name, which differs from the one in $credentials (replace it with --renew-credentials)"
      continue
    fi
    run install -m 0600 -o "$user" -g "$user" "$credentials/$name" "$etc/edge/$name"
    told "wrote $etc/edge/$name"
    changed=yes
  done
  config_once "$credentials/edge.toml" "$etc/edge.toml" 0640 root "$user"
}

# The unit hides devices; who has a serial bus opens these, and nothing else of the machine.
serial_ports() {
  local to=/etc/systemd/system/tanyun-edge.service.d/serial.conf
  printf '%s\n' '[Service]' 'PrivateDevices=no' 'DevicePolicy=closed' 'DeviceAllow=char-ttyUSB rw' 'DeviceAllow=char-ttyACM rw' \
    'DeviceAllow=char-ttyAMA rw' 'DeviceAllow=char-ttyS rw' 'SupplementaryGroups=dialout' >"$scratch/serial.conf"
  if cmp -s "$scratch/serial.conf" "$to"; then return; fi
  run install -D -m 0644 "$scratch/serial.conf" "$to"
  told "wrote $to"
  changed=yes
}

service() {
  units tanyun-edge.service
  enable_units tanyun-edge.service
  if [[ -n "$dry_run" ]]; then return; fi
  if [[ ! -f "$etc/edge.toml" ]]; then
    say "not started: there is no $etc/edge.toml yet; run this again with --credentials"
  elif ! "$prefix/edge/bin/tanyun" edge check --config "$etc/edge.toml" >&2; then
    say "not started: complete $etc/edge.toml, then: sudo tanyun edge check --config $etc/edge.toml && sudo systemctl restart tanyun-edge"
  elif [[ -z "$start" ]] || ! is_booted; then
    say "the service is enabled, not started"
  elif [[ -n "$changed" ]]; then
    systemctl restart tanyun-edge.service
  else
    systemctl start tanyun-edge.service
  fi
}

prepare
packages python3 python3-venv
system_user "$user" /var/lib/tanyun-edge
environment requirements-edge.lock edge
# A server on the same machine has the larger set of commands.
if [[ ! -e /usr/local/bin/tanyun || "$(readlink /usr/local/bin/tanyun)" == "$prefix/edge/"* ]]; then
  run ln -sfn "$prefix/edge/bin/tanyun" /usr/local/bin/tanyun
fi
documents
folder 0755 root "$etc"
folder 0700 "$user" "$etc/edge"
if [[ -n "$credentials" ]]; then sign_in; fi
if [[ -n "$serial" ]]; then serial_ports; fi
service
say "done. The log: journalctl -u tanyun-edge"
