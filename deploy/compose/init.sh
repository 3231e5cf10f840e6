#!/bin/sh
# First start: makes every secret and certificate, each readable by the one container that needs it. Later: only what is missing.
# Runs as root in its own container, with these volumes and no network, and ends.
set -eu
umask 077

config=/config
secrets=/secrets
broker=/etc/tanyun/broker
# Users of the images: tanyun (ours), mosquitto, influxdb, grafana.
tanyun=10001 mosquitto=1883 influxdb=1000 grafana=472

folder() { mkdir -p "$2" && chown "$1:$1" "$2" && chmod 0700 "$2"; }

secret() {
  if [ ! -s "$2" ]; then
    head -c 32 /dev/urandom | base64 | tr -d '=\n' | tr '+/' '-_' >"$2.new"
    mv "$2.new" "$2"
    echo "made $2"
  fi
  chown "$1:$1" "$2"
}

# The same secret for a second reader.
copy() { cp "$2" "$3.new" && chown "$1:$1" "$3.new" && mv "$3.new" "$3"; }

if [ ! -f "$config/park.toml" ]; then
  echo "there is no config/park.toml beside docker-compose.yml: write the registry first (docs/go-to-production.md)" >&2
  exit 78
fi

chmod 0711 "$secrets"
folder $tanyun "$secrets/tanyun"
folder $influxdb "$secrets/influxdb"
folder $grafana "$secrets/grafana"
secret $influxdb "$secrets/influxdb/admin-password"
secret $influxdb "$secrets/influxdb/admin-token"
secret $influxdb "$secrets/influxdb/grafana-password"
secret $grafana "$secrets/grafana/admin-password"
secret $grafana "$secrets/grafana/secret-key"
copy $tanyun "$secrets/influxdb/admin-token" "$secrets/tanyun/influx-token"
copy $grafana "$secrets/influxdb/grafana-password" "$secrets/grafana/influx-password"

chmod 0755 "$broker"
folder $mosquitto "$broker/broker"
folder $tanyun "$broker/host"
set --
for name in ${TANYUN_BROKER_NAMES:-}; do set -- "$@" --name "$name"; done
tanyun broker init --data "$broker" --registry "$config/park.toml" --tls "$@" --name mosquitto

# Named volumes are made by root.
chown $tanyun:$tanyun /var/lib/tanyun /var/cache/tanyun
chown $grafana:$grafana /etc/grafana/tanyun
