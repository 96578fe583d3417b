"""Runs models that rnn_cell::weights::onnx wrote with ONNX Runtime and compares what both compute.

    cargo test --features onnx,safetensors --test onnx writing    # writes target/tmp/onnx_export
    pip install onnx onnxruntime safetensors
    python tools/onnx_run.py target/tmp/onnx_export
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

largest, count = 0, 0
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    file = load_file(path.with_suffix(".safetensors"))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {i.name: file[i.name].astype("i" if i.type == "tensor(int32)" else "f") for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    differences = [abs(found - file[name]).max() for name, found in zip(names, session.run(names, feed))]
    kinds = [node.op_type for node in onnx.load(path).graph.node if node.op_type in ("LSTM", "GRU", "RNN")]
    print(f"{path.stem}: {', '.join(kinds)}, outputs {len(names)}, largest difference {max(differences):.1e}")
    largest, count = max(largest, *differences), count + 1
print(f"largest difference {largest:.1e}")
assert count and largest < 1e-6
