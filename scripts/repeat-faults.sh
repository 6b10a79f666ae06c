#!/usr/bin/env bash
# The tests of faults and of a term, so many times over (the first argument), and once with every processor kept busy.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-10}
for round in $(seq "$rounds"); do
  echo "faults, round $round of $rounds"
  npx vitest run test/fault test/term --reporter=dot
done

echo "faults, with every processor kept busy"
busy=()
stop() { kill "${busy[@]}" 2>/dev/null || true; }
trap stop EXIT
for _ in $(seq "$(nproc)"); do
  node -e 'for (;;);' &
  busy+=($!)
done
npx vitest run test/fault test/term --reporter=dot
