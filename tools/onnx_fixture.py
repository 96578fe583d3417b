"""Writes tests/fixtures/onnx_f32.safetensors: operators' tensors with an input and ONNX Runtime's own outputs. (Its CPU
operators know f32 alone.)

    pip install onnx onnxruntime safetensors
    python tools/onnx_fixture.py
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from safetensors.numpy import save_file

HIDDEN, INPUT, STEPS, BATCH = 4, 3, 6, 2
# operator, directions, with B, with P, attributes
NODES = {
    "rnn": ("RNN", 1, True, False, {}),
    "rnn_relu_both": ("RNN", 2, True, False, {"activations": ["Relu", "Relu"]}),
    "lstm": ("LSTM", 1, True, True, {}),
    "lstm_both": ("LSTM", 2, True, True, {}),
    "lstm_no_bias": ("LSTM", 1, False, False, {}),
    "gru": ("GRU", 1, True, False, {"linear_before_reset": 0}),
    "gru_both": ("GRU", 2, True, False, {"linear_before_reset": 1}),
}
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


def tensors_of(model):
    graph = model.graph
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    inputs = {"W": 1, "R": 2, "B": 3, "P": 7}  # where each stands among the operator's inputs
    return {
        f"{node.name}/{name}": arrays[node.input[at]]
        for node in graph.node
        if node.op_type in GATES
        for name, at in inputs.items()
        if at < len(node.input) and node.input[at]
    }


def model_of(case, rng):
    operator, directions, with_b, with_p, attributes = NODES[case]
    rows = GATES[operator] * HIDDEN
    shapes = {"W": (directions, rows, INPUT), "R": (directions, rows, HIDDEN)}
    if with_b:
        shapes["B"] = (directions, 2 * rows)
    if with_p:
        shapes["P"] = (directions, 3 * HIDDEN)
    arrays = {name: rng.normal(scale=0.5, size=shape).astype("f") for name, shape in shapes.items()}
    inputs = ["x", "W", "R", "B" if with_b else "", "", "", "", "P" if with_p else ""]
    while not inputs[-1]:
        inputs.pop()
    direction = "bidirectional" if directions == 2 else "forward"
    node = helper.make_node(operator, inputs, ["y"], name=case, hidden_size=HIDDEN, direction=direction, **attributes)
    graph = helper.make_graph(
        [node],
        case,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, BATCH, INPUT))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (STEPS, directions, BATCH, HIDDEN))],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return model


rng = np.random.default_rng(1)
file = {}
for case in NODES:
    model = model_of(case, rng)
    x = rng.normal(size=(STEPS, BATCH, INPUT)).astype("f")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    outputs = y.transpose(2, 0, 1, 3).reshape(BATCH, STEPS, -1)
    file |= tensors_of(model)
    file |= {f"{case}/x": np.ascontiguousarray(x.transpose(1, 0, 2)), f"{case}/outputs": np.ascontiguousarray(outputs)}
save_file(file, "tests/fixtures/onnx_f32.safetensors")
