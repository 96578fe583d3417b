"""Writes tests/fixtures/onnx/: models by hand and by PyTorch's exporters, with ONNX Runtime's own outputs.

    pip install onnx onnxruntime onnxscript safetensors torch
    python tools/onnx_models.py

outputs.safetensors holds, for each model, `MODEL/x` (batch, seq, input) and for each node `MODEL/NODE`
(batch, seq, directions · hidden).
"""

import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file

FOLDER = pathlib.Path("tests/fixtures/onnx")
HIDDEN, INPUT, STEPS, BATCH = 4, 3, 5, 2
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
rng = np.random.default_rng(7)
recorded = {}
warnings.filterwarnings("ignore")


def normal(*shape):
    return rng.normal(scale=0.5, size=shape).astype("f")


class Graph:
    """Collects nodes and initializers."""

    def __init__(self):
        self.nodes, self.initializers, self.outputs = [], [], {}

    def add(self, array, name):
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def recurrent(self, kind, name, weights=None, bias=True, peepholes=False, output=None, reads="x", **attributes):
        """A recurrent node. `weights` maps W, R, B or P to a value that is already there."""
        directions = 2 if attributes.get("direction") == "bidirectional" else 1
        rows = GATES[kind] * HIDDEN
        shapes = {"W": (directions, rows, INPUT), "R": (directions, rows, HIDDEN)}
        shapes |= {"B": (directions, 2 * rows)} if bias else {}
        shapes |= {"P": (directions, 3 * HIDDEN)} if peepholes else {}
        key = output or name
        given = dict(weights or {})
        for what, shape in shapes.items():
            if what not in given:
                given[what] = self.add(normal(*shape), f"{key}.{what}")
        inputs = [reads, given["W"], given["R"], given.get("B", ""), "", "", "", given.get("P", "")]
        while not inputs[-1]:
            inputs.pop()
        node = helper.make_node(kind, inputs, [f"{key}.y"], name=name, hidden_size=HIDDEN, **attributes)
        self.nodes.append(node)
        self.outputs[key] = directions
        return node

    def model(self, case, functions=(), opsets=(), extra=()):
        outputs = [
            helper.make_tensor_value_info(f"{key}.y", TensorProto.FLOAT, (STEPS, directions, BATCH, HIDDEN))
            for key, directions in self.outputs.items()
        ]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, BATCH, INPUT)), *extra]
        graph = helper.make_graph(self.nodes, case, inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", 21), *(helper.make_opsetid(*opset) for opset in opsets)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def record(case, model, keys, feed=None):
    """Runs a model and keeps the outputs (seq, directions, batch, hidden) of these keys."""
    x = normal(STEPS, BATCH, INPUT)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x, **(feed or {})})
    recorded[f"{case}/x"] = np.ascontiguousarray(x.transpose(1, 0, 2))
    for key, y in zip(keys, found):
        recorded[f"{case}/{key}"] = np.ascontiguousarray(y.transpose(2, 0, 1, 3).reshape(BATCH, STEPS, -1))


def save(case, model):
    (FOLDER / f"{case}.onnx").write_bytes(model.SerializeToString())


def attributes():
    graph = Graph()
    both = {"direction": "bidirectional"}
    graph.recurrent("LSTM", "lstm", peepholes=True)
    graph.recurrent("LSTM", "lstm_reverse", direction="reverse", bias=False)
    names = ["HardSigmoid", "Softsign", "Softsign", "Sigmoid", "Tanh", "Tanh"]
    graph.recurrent("LSTM", "lstm_both", **both, activations=names, peepholes=True)
    graph.recurrent("GRU", "gru", linear_before_reset=0)
    graph.recurrent("GRU", "gru_after", linear_before_reset=1)
    names = ["Sigmoid", "Elu", "HardSigmoid", "Affine"]
    alphas, betas = [1.0, 0.2, 1.0], [0.5, 0.0]
    given = {"activations": names, "activation_alpha": alphas, "activation_beta": betas}
    graph.recurrent("GRU", "gru_both", **both, **given, linear_before_reset=1)
    graph.recurrent("RNN", "rnn", activations=["Relu"])
    graph.recurrent("RNN", "rnn_reverse", direction="reverse")
    graph.recurrent("RNN", "rnn_both", **both, activations=["Relu", "Affine"], activation_alpha=[1.0])
    # With numbers of their own: alpha and beta go to those that take one, in turn.
    names, alphas = ["Elu", "LeakyRelu"], [0.5, 0.1]
    graph.recurrent("RNN", "numbers_rnn", **both, activations=names, activation_alpha=alphas)
    names = ["HardSigmoid", "ScaledTanh", "ScaledTanh", "Sigmoid", "ThresholdedRelu", "ThresholdedRelu"]
    alphas, betas = [0.3, 1.5, 1.5, 0.1, 0.1], [0.4, 0.5, 0.5]
    given = {"activations": names, "activation_alpha": alphas, "activation_beta": betas}
    graph.recurrent("LSTM", "numbers_lstm", **both, **given, peepholes=True)
    given = {"activations": ["HardSigmoid", "Affine"], "activation_alpha": [0.1, -0.5], "activation_beta": [0.6, 0.2]}
    graph.recurrent("GRU", "numbers_gru", **given, linear_before_reset=1)
    graph.recurrent("RNN", "leaky", activations=["LeakyRelu"])
    # Without names.
    graph.recurrent("GRU", "", output="GRU_13")
    graph.recurrent("LSTM", "", output="LSTM_14")
    model = graph.model("attributes")
    record("attributes", model, graph.outputs)
    save("attributes", model)


def refused():
    graph = Graph()
    graph.recurrent("LSTM", "clip", clip=0.5)
    graph.recurrent("LSTM", "input_forget", input_forget=1)
    graph.recurrent("LSTM", "mixed", activations=["Sigmoid", "Tanh", "Relu"])
    graph.recurrent("RNN", "softplus", activations=["Softplus"])
    graph.recurrent("RNN", "affine", activations=["Affine"])
    graph.recurrent("RNN", "threshold", activations=["ThresholdedRelu"])
    graph.recurrent("GRU", "leaky", activations=["LeakyRelu", "Tanh"], activation_alpha=[-0.5])
    graph.recurrent("GRU", "gru_clip", clip=0.5, linear_before_reset=1)
    graph.recurrent("RNN", "computed", weights={"W": graph.op("Add", ["computed.W0", "computed.W0"], "computed.W")})
    graph.add(normal(1, HIDDEN, INPUT), "computed.W0")
    graph.recurrent("RNN", "given", weights={"R": "r"})
    r = helper.make_tensor_value_info("r", TensorProto.FLOAT, (1, HIDDEN, HIDDEN))
    model = graph.model("refused", extra=[r])
    record("refused", model, graph.outputs, {"r": normal(1, HIDDEN, HIDDEN)})
    save("refused", model)


def constants():
    """Weights behind operators, and in every field a tensor may keep them in."""
    graph = Graph()
    w = normal(1, HIDDEN, INPUT)
    graph.op("Constant", [], "k", value=numpy_helper.from_array(w))
    graph.recurrent("RNN", "constant", weights={"W": graph.op("Identity", ["k"], "k2")})
    graph.add(normal(INPUT, 1, HIDDEN), "t")
    graph.recurrent("RNN", "transpose", weights={"W": graph.op("Transpose", ["t"], "t2", perm=[1, 2, 0])})
    graph.add(normal(1, HIDDEN, HIDDEN).astype("e"), "half")
    graph.recurrent("RNN", "cast", weights={"R": graph.op("Cast", ["half"], "half2", to=TensorProto.FLOAT)})
    graph.add(normal(1, HIDDEN, INPUT).astype("d"), "wide")
    graph.recurrent("RNN", "narrowed", weights={"W": graph.op("Cast", ["wide"], "wide2", to=TensorProto.FLOAT)})
    for name, shape, scale, zero, more in [
        ("one_scale", (1, HIDDEN, INPUT), np.float32(0.013), np.int8(3), {}),
        ("scales", (1, HIDDEN, INPUT), abs(normal(HIDDEN)) / 50, np.arange(HIDDEN).astype("i1"), {"axis": 1}),
        ("last_axis", (1, HIDDEN, INPUT), abs(normal(INPUT)) / 50, None, {"axis": -1}),
    ]:
        inputs = [graph.add(rng.integers(-120, 120, shape).astype("i1"), f"{name}.q"), graph.add(np.asarray(scale), f"{name}.s")]
        inputs += [] if zero is None else [graph.add(np.asarray(zero), f"{name}.z")]
        graph.recurrent("RNN", name, weights={"W": graph.op("DequantizeLinear", inputs, f"{name}.w", **more)})
    # As an exporter reorders gates: cut, join, and add an axis.
    graph.add(normal(3 * HIDDEN, INPUT), "blocks")
    for k, (start, end) in enumerate([(-8, -4), (0, 4), (8, 2**31)]):
        graph.add(np.array([start]), f"start{k}"), graph.add(np.array([end]), f"end{k}")
        graph.op("Slice", ["blocks", f"start{k}", f"end{k}", "zero"], f"block{k}")
    graph.add(np.array([0]), "zero"), graph.add(np.array([1, -1, INPUT]), "shape")
    graph.op("Concat", ["block0", "block1", "block2"], "joined", axis=0)
    graph.recurrent("GRU", "unsqueeze", weights={"W": graph.op("Unsqueeze", ["joined", "zero"], "deep")})
    graph.recurrent("GRU", "reshape", weights={"W": graph.op("Reshape", ["joined", "shape"], "shaped")})
    graph.add(normal(1, 1, HIDDEN, INPUT), "much")
    graph.recurrent("RNN", "squeeze", weights={"W": graph.op("Squeeze", ["much", "zero"], "less")})
    # Not in raw_data.
    listed = helper.make_tensor("listed", TensorProto.FLOAT, (1, HIDDEN, INPUT), normal(HIDDEN * INPUT))
    bits = normal(HIDDEN * HIDDEN).astype("e").view("u2").astype("i4")
    halves = TensorProto(name="halves", data_type=TensorProto.FLOAT16, dims=(1, HIDDEN, HIDDEN), int32_data=bits)
    graph.initializers += [listed, halves]
    graph.recurrent("RNN", "fields", weights={"W": "listed", "R": graph.op("Cast", ["halves"], "wider", to=1)})
    model = graph.model("constants")
    record("constants", model, graph.outputs)
    save("constants", model)


def nested():
    """Nodes in both branches of an `If`, in the body of a `Loop`, and in a function that is called twice."""
    graph = Graph()
    graph.add(normal(1, HIDDEN, INPUT), "shared")
    branches = {}
    for branch in ["then", "else"]:
        inner = Graph()
        inner.recurrent("RNN", "inner", weights={"W": "shared"}, output=f"{branch}.inner")
        y = helper.make_tensor_value_info(f"{branch}.inner.y", TensorProto.FLOAT, None)
        branches[f"{branch}_branch"] = helper.make_graph(inner.nodes, branch, [], [y], inner.initializers)
    # The file has the attributes in the order of their names. So these are the second and the third of four nodes.
    for key, condition in [("inner_1", True), ("inner_2", False)]:
        graph.add(np.array(condition), f"{key}.condition")
        graph.nodes.append(helper.make_node("If", [f"{key}.condition"], [f"{key}.y"], name=f"choose_{key}", **branches))
        graph.outputs[key] = 1
    body = Graph()
    body.recurrent("GRU", "in_loop", weights={}, linear_before_reset=1)
    body.op("Identity", ["go"], "go_on")
    info = helper.make_tensor_value_info
    inputs = [info("i", TensorProto.INT64, ()), info("go", TensorProto.BOOL, ()), info("before", TensorProto.FLOAT, None)]
    outputs = [info("go_on", TensorProto.BOOL, ()), info("in_loop.y", TensorProto.FLOAT, None)]
    body = helper.make_graph(body.nodes, "body", inputs, outputs, body.initializers)
    graph.add(np.array(1), "once"), graph.add(np.array(True), "yes"), graph.add(normal(STEPS, 1, BATCH, HIDDEN), "start")
    graph.nodes.append(helper.make_node("Loop", ["once", "yes", "start"], ["in_loop.y"], name="loop", body=body))
    graph.outputs["in_loop"] = 1
    # The function's node takes its weights and its direction from the caller.
    node = helper.make_node("RNN", ["a", "w2", "r"], ["b"], name="in_function", hidden_size=HIDDEN)
    node.attribute.append(onnx.AttributeProto(name="direction", ref_attr_name="way", type=onnx.AttributeProto.STRING))
    identity = helper.make_node("Identity", ["w"], ["w2"])
    function = helper.make_function(
        "own", "layer", ["a", "w", "r"], ["b"], [identity, node], [helper.make_opsetid("", 21)], ["way"]
    )
    for key, way in [("in_function", "reverse"), ("in_function_1", "forward")]:
        weights = [graph.add(normal(1, HIDDEN, size), f"{key}.{what}") for what, size in [("W", INPUT), ("R", HIDDEN)]]
        graph.nodes.append(
            helper.make_node("layer", ["x", *weights], [f"{key}.y"], name=f"call.{key}", domain="own", way=way)
        )
        graph.outputs[key] = 1
    model = graph.model("nested", functions=[function], opsets=[("own", 1)])
    record("nested", model, graph.outputs)
    save("nested", model)


def quantized():
    graph = Graph()
    graph.recurrent("LSTM", "quantized", direction="bidirectional")
    graph.recurrent("LSTM", "one_way", peepholes=True)
    model = graph.model("quantized")
    path = FOLDER / "quantized.onnx"
    save("quantized", model)
    quantize_dynamic(path, path, weight_type=QuantType.QInt8, per_channel=True)
    model = onnx.load(path)
    # The operator rounds its inputs, too. Its weights are those of this LSTM, which does not.
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    plain = Graph()
    plain.outputs = graph.outputs
    nodes = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLSTM"]
    assert len(nodes) == 2
    for node in nodes:
        names = list(node.input)
        for at in (1, 2):
            codes, scales, zeros = (arrays[names[k]].astype("f") for k in (at, 6 + 2 * at, 7 + 2 * at))
            weights = (codes - zeros[:, None]) * scales[:, None]
            names[at] = plain.add(np.ascontiguousarray(weights.transpose(0, 2, 1)), names[at])
        for at in (3, 7):
            if len(names) > at and names[at]:
                plain.add(arrays[names[at]], names[at])
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = names[:8]
        while not inputs[-1]:
            inputs.pop()
        plain.nodes.append(helper.make_node("LSTM", inputs, node.output, **given))
    record("quantized", plain.model("plain"), graph.outputs)


def external():
    graph = Graph()
    graph.recurrent("GRU", "gru", direction="bidirectional")
    model = graph.model("external")
    record("external", model, graph.outputs)
    # Saving appends.
    (FOLDER / "external.bin").unlink(missing_ok=True)
    onnx.save_model(
        model,
        FOLDER / "external.onnx",
        save_as_external_data=True,
        location="external.bin",
        size_threshold=0,
    )


class Module(torch.nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.rnn = kind(INPUT, HIDDEN, **options)
        self.start = torch.nn.Parameter(torch.randn(1, 1, HIDDEN))

    def forward(self, x):
        if isinstance(self.rnn, torch.nn.GRU):
            return self.rnn(x, self.start.expand(1, x.shape[1], HIDDEN).contiguous())[0]
        return self.rnn(x)[0]


def exported():
    torch.manual_seed(1)
    for case, kind, options, how in [
        ("torch_lstm", torch.nn.LSTM, {"num_layers": 2, "bidirectional": True}, {"dynamo": False}),
        ("torch_dynamo_lstm", torch.nn.LSTM, {"bias": False}, {"dynamo": True}),
        ("torch_gru", torch.nn.GRU, {}, {"dynamo": False, "do_constant_folding": False}),
        ("torch_rnn", torch.nn.RNN, {"nonlinearity": "relu"}, {"dynamo": False}),
    ]:
        module = Module(kind, **options).eval()
        path = FOLDER / f"{case}.onnx"
        if how["dynamo"]:
            torch.onnx.export(module, (torch.zeros(STEPS, BATCH, INPUT),), path, verbose=False, external_data=False, **how)
        else:
            torch.onnx.export(module, (torch.zeros(STEPS, BATCH, INPUT),), path, input_names=["x"], **how)
        model = onnx.load(path)
        # Traces of the source's lines are most of the file, and hold paths.
        for node in model.graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
            value.doc_string = ""
            del value.metadata_props[:]
        del model.metadata_props[:], model.graph.metadata_props[:]
        path.write_bytes(model.SerializeToString())
        x = normal(STEPS, BATCH, INPUT)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (y,) = session.run(None, {"x": x})
        difference = abs(y - module(torch.from_numpy(x)).detach().numpy()).max()
        assert difference < 1e-6, (case, difference)
        recorded[f"{case}/x"] = np.ascontiguousarray(x.transpose(1, 0, 2))
        recorded[f"{case}/y"] = np.ascontiguousarray(y.transpose(1, 0, 2))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    attributes(), refused(), constants(), nested(), quantized(), external(), exported()
    save_file(recorded, FOLDER / "outputs.safetensors")
    for path in FOLDER.iterdir():
        path.chmod(0o644)
