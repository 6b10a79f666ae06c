#!/usr/bin/env bash
# The tests of faults and of the relay, once with every processor kept busy, and then so many times
# over (the first argument). No round begins after so many minutes (the second).
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-10}
minutes=${2:-60}

round() { npx vitest run test/fault test/relay --reporter=dot; }

echo "faults, with every processor kept busy"
busy=()
stop() { kill "${busy[@]}" 2>/dev/null || true; }
trap stop EXIT
for _ in $(seq "$(nproc)"); do
  node -e 'for (;;);' &
  busy+=($!)
done
round
stop

for n in $(seq "$rounds"); do
  if ((SECONDS > minutes * 60)); then
    echo "faults: $((n - 1)) of $rounds rounds, no time for more"
    break
  fi
  echo "faults, round $n of $rounds"
  round
done
