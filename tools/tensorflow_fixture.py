"""Writes tests/fixtures/tensorflow_{f32,f64}.safetensors from checkpoints of TensorFlow 1 training runs: every variable,
the optimizer's too, with an input and TensorFlow's own outputs.

    pip install tensorflow==2.15.1 safetensors
    python tools/tensorflow_fixture.py
"""

import os
import tempfile

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file

tf1 = tf.compat.v1
tf1.disable_eager_execution()
cells = tf1.nn.rnn_cell
GRAPHS = {
    "basic_rnn": lambda x: tf1.nn.dynamic_rnn(cells.BasicRNNCell(4), x, dtype=x.dtype)[0],
    "lstm": lambda x: tf1.nn.dynamic_rnn(
        cells.LSTMCell(4, use_peepholes=True, num_proj=3, cell_clip=0.5, proj_clip=0.3, forget_bias=0.5), x, dtype=x.dtype
    )[0],
    "multi": lambda x: tf1.nn.dynamic_rnn(cells.MultiRNNCell([cells.LSTMCell(4), cells.LSTMCell(5)]), x, dtype=x.dtype)[0],
    "bidirectional": lambda x: tf.concat(
        tf1.nn.bidirectional_dynamic_rnn(cells.GRUCell(4), cells.GRUCell(4), x, dtype=x.dtype)[0], 2
    ),
}


def tensors_of(checkpoint):
    reader = tf.train.load_checkpoint(checkpoint)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


for dtype in ("float32", "float64"):
    file = {}
    for case, make in GRAPHS.items():
        rng = np.random.default_rng(1)
        x = rng.normal(size=(2, 6, 3)).astype(dtype)
        with tf1.Graph().as_default(), tf1.Session() as session, tempfile.TemporaryDirectory() as folder:
            tf.keras.utils.set_random_seed(1)
            placeholder = tf1.placeholder(dtype, (2, 6, 3))
            outputs = make(placeholder)
            step = tf1.train.get_or_create_global_step()
            train = tf1.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(outputs**2), global_step=step)
            session.run(tf1.global_variables_initializer())
            for _ in range(3):
                session.run(train, {placeholder: x})
            checkpoint = tf1.train.Saver().save(session, os.path.join(folder, "model.ckpt"))
            expected = session.run(outputs, {placeholder: x})
            file |= {f"{case}/{name}": np.array(tensor) for name, tensor in tensors_of(checkpoint).items()}
        file |= {f"{case}/x": x, f"{case}/outputs": expected}
    save_file(file, f"tests/fixtures/tensorflow_{dtype.replace('float', 'f')}.safetensors")
