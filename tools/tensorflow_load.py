"""Loads files that rnn_cell::weights::safetensors::save wrote into TensorFlow 1's variables and compares what both compute.

    cargo test --features safetensors --test weights importers::exported    # writes target/tmp/exported_*.safetensors
    pip install tensorflow==2.15.1 safetensors
    python tools/tensorflow_load.py target/tmp
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

tf1 = tf.compat.v1
tf1.disable_eager_execution()
cells = tf1.nn.rnn_cell


def stack(x):
    lstm = [
        cells.LSTMCell(5, use_peepholes=True, num_proj=2, cell_clip=0.5, forget_bias=0.25),
        cells.LSTMCell(4, cell_clip=0.5, forget_bias=0.25),
    ]
    return tf1.nn.dynamic_rnn(cells.MultiRNNCell(lstm), x, dtype=x.dtype)[0]


def pair(x):
    return tf.concat(tf1.nn.bidirectional_dynamic_rnn(cells.GRUCell(4), cells.GRUCell(4), x, dtype=x.dtype)[0], 2)


# graph, scope before our names, scope inside them
GRAPHS = {"stack": (stack, "rnn/multi_rnn_cell/", "lstm_cell/"), "pair": (pair, "bidirectional_rnn/", "gru_cell/")}


def load(file, scope, cell, session):
    """Assigns each variable its tensor and returns the tensors that no variable has."""
    for variable in tf1.global_variables(scope):
        name = variable.op.name.removeprefix(scope).replace(cell, "")
        variable.load(file.pop(name), session)
    return file


for case, (make, scope, cell) in GRAPHS.items():
    file = load_file(Path(sys.argv[1]) / f"exported_tensorflow_{case}.safetensors")
    x, expected = file.pop("x"), file.pop("outputs")
    with tf1.Graph().as_default(), tf1.Session() as session:
        outputs = make(tf.constant(x))
        assert not load(file, scope, cell, session), case
        error = np.abs(session.run(outputs) - expected).max()
    print(f"{case}: outputs {expected.shape}, largest difference {error:.1e}")
    assert error < 1e-12, case
