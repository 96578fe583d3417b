#!/bin/bash
# Measures this crate and its peers, one after the other, on an otherwise idle machine: about fifteen minutes. Writes a line
# of JSON a measurement to $OUT (default: results.jsonl), prints the table and, of a whole run, draws docs/peers.svg. On a
# machine that others share one run is not enough: with APPEND=1 another adds its lines, and rows are medians over runs.
#   ONLY=regex  some of the runs     BENCH_SEC=0.1  seconds a measurement     WLS, CELLS, MODES  comma-separated choices
set -u
here=$(cd "$(dirname "$0")" && pwd)
export PEERS_ROOT=${PEERS_ROOT:-$here} BENCH_SEC=${BENCH_SEC:-0.1}
export OUT=${OUT:-$PEERS_ROOT/results.jsonl}
native=$PEERS_ROOT/target_native/release python=$PEERS_ROOT/venv/bin/python
ours=$PEERS_ROOT/target_default/release/p_rnn_cell custom=$PEERS_ROOT/target_default/release/p_custom
decode=$PEERS_ROOT/target_default/release/p_decode
mkdir -p "$PEERS_ROOT/logs"
[ -n "${APPEND:-}" ] || : > "$OUT"

# go NAME THREADS COMMAND...: one thread is held to one core; a peer stops by itself after 70 seconds, or DEADLINE
go() {
  local name=$1 threads=$2 pin=() start=$SECONDS deadline=${DEADLINE:-70}
  shift 2
  [[ $name =~ ${ONLY:-.} ]] || return 0
  [ "$threads" = 1 ] && pin=(taskset -c $(($(nproc) - 1)))
  BENCH_DEADLINE=$deadline OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads \
    RAYON_NUM_THREADS=$threads MATMUL_NUM_THREADS=$threads \
    timeout -k 5 $((deadline + 15)) "${pin[@]}" "$@" > "$PEERS_ROOT/logs/$name.log" 2>&1
  echo "$name: exit $?, $((SECONDS - start)) s, $(grep -c FAIL "$PEERS_ROOT/logs/$name.log") failed" >&2
}

# Weights in 16 or 8 bits, for each peer that has them: FORMAT.
formats() {
  local t=$1 format
  for format in int8 bf16; do
    export FORMAT=$format
    go torch-$format-$t $t "$python" "$here/py/peer_torch.py" $t
    go rnn-cell-$format-$t $t "$ours" $t
  done
  FORMAT=int8 go onnxruntime-int8-$t $t "$python" "$here/py/peer_ort.py" $t
  FORMAT=int8 go rten-int8-$t $t "$native/p_rten" $t      # after ONNX Runtime, which makes its models
  FORMAT=bf16 go openvino-bf16-$t $t "$python" "$here/py/peer_openvino.py" $t
  unset FORMAT
}

for t in 1 2; do
  go limits-$t $t "$native/limits" $t hw
  go torch-$t $t "$python" "$here/py/peer_torch.py" $t
  go onnxruntime-$t $t "$python" "$here/py/peer_ort.py" $t
  go rnn-cell-$t $t "$ours" $t
  go openvino-$t $t "$python" "$here/py/peer_openvino.py" $t
  go jax-$t $t "$python" "$here/py/peer_jax.py" $t
  go rten-$t $t "$native/p_rten" $t
  go tract-$t $t "$native/p_tract" $t
  go ndarray-$t $t "$native/p_ndarray" $t
  GRU=before go gru-before-$t $t "$ours" $t
  formats $t
  go custom-$t $t "$custom" $t
  go decode-$t $t "$decode" $t
  go torch-decode-$t $t "$python" "$here/py/peer_torch_decode.py" $t
  DEADLINE=120 go jax-custom-$t $t "$python" "$here/py/peer_jax_custom.py" $t
done
RNN_CELL_ISA=avx2 PEER_SUFFIX=/avx2 go rnn-cell-avx2 1 "$ours" 1
"$here/table.py" "$OUT" --focus rnn-cell
[ -n "${ONLY:-}${WLS:-}${CELLS:-}${MODES:-}" ] || "$here/picture.py" "$OUT"
