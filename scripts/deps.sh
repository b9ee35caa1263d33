#!/bin/sh
# Installs Debian packages that this tree runs beside Go and Node: for the tests
# (deps.sh, deps.sh test) Chromium, promtool, nginx, curl and openssl, for the benchmark beside other
# proxies (deps.sh bench) those proxies, wrk and h2load. As another user than root, or
# without apt-get, it names what is missing, and does without.
set -eu
missing=
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }
case ${1:-test} in
test)
	need chromium chromium
	need promtool prometheus
	need curl curl
	need openssl openssl
	need gtlsclient ngtcp2-client
	need nginx nginx-light
	/usr/bin/python3 -c 'import websockets' 2>/dev/null || missing="$missing python3-websockets"
	;;
bench)
	need wrk wrk
	need nginx nginx-light
	need haproxy haproxy
	need caddy caddy
	need h2load nghttp2-client
	;;
*)
	echo "usage: $0 [test|bench]" >&2
	exit 64
	;;
esac
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing$missing"
	apt-get update -qq
	# No daemon is to start: only the programs are wanted.
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
	echo "not installed:$missing (what needs them is left out)"
fi
