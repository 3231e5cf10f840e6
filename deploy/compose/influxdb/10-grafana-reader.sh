#!/bin/bash
# Run once, by the image, after InfluxDB has been set up: a login for Grafana that can read and do nothing else.
set -euo pipefail

bucket_id() { influx bucket list --name "$1" --hide-headers | cut -f 1; }

influx bucket create --name tanyun/history --retention 0 >/dev/null
# In this container the password is an argument for a moment; nobody else is in it.
influx v1 auth create --username grafana --password "$(</secrets/influxdb/grafana-password)" \
  --read-bucket "$(bucket_id tanyun/live)" --read-bucket "$(bucket_id tanyun/history)" >/dev/null
