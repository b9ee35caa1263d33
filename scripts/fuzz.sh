#!/bin/sh
# Runs every fuzz target below a folder, one after the other, each for a time
# ("1m") or a number of inputs ("200000x"): fuzz.sh [TIME [FOLDER]]
set -eu
time=${1:-1m}
grep -rl --include='*_test.go' '^func Fuzz' "${2:-internal}" | while read -r file; do
	dir=$(dirname "$file")
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$dir"
	done
done
