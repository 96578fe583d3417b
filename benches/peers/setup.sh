#!/bin/sh
# The peers: a Python environment, the data and the Rust programs, under $PEERS_ROOT (default: this folder). About ten
# minutes and 3 GB of disk.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${PEERS_ROOT:-$here}
mkdir -p "$root/logs"
if [ ! -x "$root/venv/bin/python" ]; then
  python3 -m venv "$root/venv"
  "$root/venv/bin/pip" install -q torch==2.15.0 onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 jax==0.10.2 flax==0.12.8 numpy==2.3.5
fi
[ -f "$root/data/gru_wide/done" ] || PEERS_ROOT=$root "$root/venv/bin/python" "$here/py/gen_data.py"
[ -f "$root/data/custom_ugrnn_batch64/done" ] || PEERS_ROOT=$root "$root/venv/bin/python" "$here/py/gen_custom.py"
[ -f "$root/data/decode/done" ] || PEERS_ROOT=$root "$root/venv/bin/python" "$here/py/gen_decode.py"
# The Rust peers get this machine's instruction set; this crate is built with default flags and chooses at run time.
cd "$here/rust"
for peer in limits p_ndarray p_rten p_tract; do
  RUSTFLAGS="-C target-cpu=native" CARGO_TARGET_DIR=$root/target_native cargo build -q --release -p $peer
done
CARGO_TARGET_DIR=$root/target_default cargo build -q --release -p p_rnn_cell -p p_custom -p p_decode
