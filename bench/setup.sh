#!/bin/sh
# Installs the peers that `npm run bench` compares with, from Debian's archive, and leaves none of them running:
# the benchmark starts its own, on loopback, in temporary folders. Needs root. A peer that is missing is skipped.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends prometheus victoria-metrics prometheus-node-exporter
for unit in prometheus victoria-metrics prometheus-node-exporter; do
  if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
    systemctl disable --now "$unit" >/dev/null 2>&1 || true
  fi
done
prometheus --version 2>&1 | head -n 1
dpkg-query -W -f='${Package} ${Version}\n' victoria-metrics prometheus-node-exporter
