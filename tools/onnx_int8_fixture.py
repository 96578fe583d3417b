"""Writes tests/fixtures/onnx_int8.safetensors: the tensors of ONNX Runtime's DynamicQuantizeLSTM, with an input and ONNX
Runtime's outputs: those of its LSTM with the same weights in f32, and those of the quantized operator.

    pip install onnx onnxruntime safetensors
    python tools/onnx_int8_fixture.py
"""

import os
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file

HIDDEN, INPUT, STEPS, BATCH = 8, 5, 6, 2
# directions, a scale for each unit
CASES = {"lstm": (1, False), "lstm_both": (2, True)}
INPUTS = {"W": 1, "R": 2, "B": 3, "W_scale": 8, "W_zero_point": 9, "R_scale": 10, "R_zero_point": 11}


def lstm(directions, w, r, b):
    arrays = {"W": w, "R": r, "B": b}
    direction = "bidirectional" if directions == 2 else "forward"
    node = helper.make_node("LSTM", ["x", *arrays], ["y"], name="lstm", hidden_size=HIDDEN, direction=direction)
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, BATCH, INPUT))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (STEPS, directions, BATCH, HIDDEN))],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def outputs(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return np.ascontiguousarray(y.transpose(2, 0, 1, 3).reshape(BATCH, STEPS, -1))


def quantized(model, per_channel):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "quantized.onnx")
        quantize_dynamic(model, path, weight_type=QuantType.QInt8, per_channel=per_channel, op_types_to_quantize=["LSTM"])
        return onnx.load(path)


rng = np.random.default_rng(1)
file = {}
for case, (directions, per_channel) in CASES.items():
    draw = lambda *shape: rng.normal(scale=0.5, size=shape).astype("f")
    x = rng.normal(size=(STEPS, BATCH, INPUT)).astype("f")
    rows = 4 * HIDDEN
    model = lstm(directions, draw(directions, rows, INPUT), draw(directions, rows, HIDDEN), draw(directions, 2 * rows))
    model = quantized(model, per_channel)
    (node,) = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLSTM"]
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    tensors = {name: arrays[node.input[at]] for name, at in INPUTS.items()}

    def dequantized(name):
        scale, zero_point = tensors[f"{name}_scale"], tensors[f"{name}_zero_point"].astype("f")
        if not per_channel:
            scale, zero_point = scale.reshape(-1, 1), zero_point.reshape(-1, 1)
        weights = (tensors[name].astype("f") - zero_point[:, None]) * scale[:, None]
        return np.ascontiguousarray(weights.transpose(0, 2, 1))

    full = lstm(directions, dequantized("W"), dequantized("R"), tensors["B"])
    file |= {f"{case}/{name}": array for name, array in tensors.items()}
    file |= {f"{case}/x": np.ascontiguousarray(x.transpose(1, 0, 2)), f"{case}/outputs": outputs(full, x)}
    file[f"{case}/int8_outputs"] = outputs(model, x)
    error = np.abs(file[f"{case}/int8_outputs"] - file[f"{case}/outputs"]).max()
    print(case, {name: (array.shape, array.dtype) for name, array in tensors.items()}, "largest error", error)
    assert error < 0.05
save_file(file, "tests/fixtures/onnx_int8.safetensors")
