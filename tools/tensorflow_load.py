"""Loads files that rnn_cell::weights::tensorflow exported into TensorFlow 1's variables and compares what both compute.

    cargo test --features safetensors --test weights exporters::exported    # writes target/tmp/exported_*.safetensors
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


def layers(x):
    """What stack_bidirectional_dynamic_rnn of tf.contrib.rnn does, which TensorFlow 2 no longer has."""
    with tf1.variable_scope("stack_bidirectional_rnn"):
        for layer in range(2):
            with tf1.variable_scope(f"cell_{layer}"):
                x = tf.concat(
                    tf1.nn.bidirectional_dynamic_rnn(cells.BasicRNNCell(4), cells.BasicRNNCell(4), x, dtype=x.dtype)[0], 2
                )
    return x


for case, make in {"stack": stack, "pair": pair, "layers": layers}.items():
    file = load_file(Path(sys.argv[1]) / f"exported_tensorflow_{case}.safetensors")
    x, expected = file.pop("x"), file.pop("outputs")
    with tf1.Graph().as_default(), tf1.Session() as session:
        outputs = make(tf.constant(x))
        for variable in tf1.global_variables():
            variable.load(file.pop(variable.op.name), session)
        assert not file, f"{case}: no variable has {list(file)}"
        error = np.abs(session.run(outputs) - expected).max()
    print(f"{case}: outputs {expected.shape}, largest difference {error:.1e}")
    assert error < 1e-12, case
