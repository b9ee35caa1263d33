#!/bin/sh
# Installs the programs that the tests run beside Go and Node: Chromium for the
# dashboard, promtool for the metrics. As another user than root, or without
# apt-get, it names what is missing, and those tests are skipped.
set -eu
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need chromium chromium
need promtool prometheus
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing$missing"
	apt-get update -qq
	# No daemon is to start: only the programs are wanted.
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
	echo "not installed:$missing (the tests that need them are skipped)"
fi
