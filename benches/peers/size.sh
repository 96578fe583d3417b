#!/bin/bash
# Builds the programs of size/ from nothing, in release and stripped. Each runs an LSTM (1, 100, 64, 128) forward. Prints
# a row of a table for each: crates compiled, CPU seconds of the build (user and system, of all processes), and the size
# of the program. Unlike wall time, CPU seconds change little with other load and with the number of cores.
#   size.sh [PROGRAM...]     default: rnn_cell candle burn
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export CARGO_TARGET_DIR
TIMEFORMAT='%U %S'
[ $# -gt 0 ] || set -- rnn_cell candle burn
for program; do
  CARGO_TARGET_DIR=$(mktemp -d)
  cd "$here/size/$program"
  cargo fetch -q
  cpu=$({ time cargo build -q --release --offline --message-format=json > "$CARGO_TARGET_DIR/messages"; } 2>&1 | tail -n 1)
  crates=$(grep -o '"reason":"compiler-artifact","package_id":"[^"]*"' "$CARGO_TARGET_DIR/messages" | sort -u | wc -l)
  binary=$CARGO_TARGET_DIR/release/size_$program
  "$binary" >&2
  awk -v name="$program" -v crates="$crates" -v cpu="$cpu" -v bytes="$(wc -c < "$binary")" 'BEGIN {
    split(cpu, seconds, " ")
    printf "| %s | %d | %.0f s | %.1f MB |\n", name, crates, seconds[1] + seconds[2], bytes / 1e6
  }'
  rm -r "$CARGO_TARGET_DIR"
done
