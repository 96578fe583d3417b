#!/bin/bash
# Old against new: runs two builds of p_rnn_cell (or of p_custom) in turn, row by row, so that what a shared machine does meets
# both, and prints for each row the median of the pairwise ratios new / old; rows above 1.05 are flagged. All rows take about
# 20 minutes. The machine must be otherwise idle: beside a compiler two runs of one binary differ by a tenth.
# usage: compare.sh OLD_BINARY NEW_BINARY, after setup.sh
#   PAIRS=9        pairs of runs           BENCH_SEC=0.03  seconds a measurement    THREADS=1,2  thread counts
#   ONLY=regex     some of the runs, by name (rnn-cell-1, gru-before-2)             WLS, CELLS, MODES  comma-separated choices
#   OUT=folder     where the measured rows are kept (default: $PEERS_ROOT/compare)
set -eu
[ $# = 2 ] || { sed -n '2,8s/^# \?//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
old=$(realpath "$1") new=$(realpath "$2")
export PEERS_ROOT=${PEERS_ROOT:-$here} BENCH_SEC=${BENCH_SEC:-0.03}
out=${OUT:-$PEERS_ROOT/compare}
mkdir -p "$out"
rm -f "$out"/old.jsonl "$out"/new.jsonl "$out"/log
choices() { tr , ' ' <<< "$1"; }
# A program passes over what it does not measure, and writes no row.
cells=$(choices "${CELLS:-rnn,lstm,gru,layer_norm_lstm,ugrnn}") modes=$(choices "${MODES:-forward,train}")
workloads=$(choices "${WLS:-stream,hello,tiny,small,speech,lstm512_b1,ragged,batch32,long,batch64,wide}")

# measure SIDE BINARY THREADS WORKLOAD MODE CELL: adds rows to SIDE.jsonl; one thread is held to one core, as in run.sh
measure() {
  local pin=()
  [ "$3" = 1 ] && pin=(taskset -c $(($(nproc) - 1)))
  WLS=$4 MODES=$5 CELLS=$6 OUT=$out/$1.jsonl RAYON_NUM_THREADS=$3 MATMUL_NUM_THREADS=$3 "${pin[@]}" "$2" "$3" >> "$out/log" 2>&1
}

# both THREADS WORKLOAD MODE CELL: who is first takes turns
turn=0
both() {
  local sides=(old new)
  (((turn++ + pair) % 2)) || sides=(new old)
  for side in "${sides[@]}"; do
    measure "$side" "${!side}" "$@" || { echo "$side failed at $*: see $out/log" >&2; exit 1; }
  done
}

for ((pair = 1; pair <= ${PAIRS:-9}; pair++)); do
  for threads in $(choices "${THREADS:-1,2}"); do
    for workload in $workloads; do
      for mode in $modes; do
        for cell in $cells; do
          [[ rnn-cell-$threads =~ ${ONLY:-.} ]] && both "$threads" "$workload" "$mode" "$cell"
          # p_custom has no such form, and no GRU.
          [[ gru-before-$threads =~ ${ONLY:-.} && $cell = gru ]] && GRU=before both "$threads" "$workload" "$mode" "$cell"
        done
      done
    done
  done
  echo "pair $pair: $SECONDS s" >&2
done
! grep FAIL "$out/log" >&2 || echo "some rows failed" >&2
"$here/compare.py" "$out/old.jsonl" "$out/new.jsonl"
