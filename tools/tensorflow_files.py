"""Writes tests/fixtures/readers/tf*: checkpoints of TensorFlow 1's Saver and of TensorFlow 2.

    pip install tensorflow==2.15.1
    python tools/tensorflow_files.py

Those of a model hold an input `x` and TensorFlow's own `outputs`.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
FOLDER = "tests/fixtures/readers"
rng = np.random.default_rng(1)
x = rng.normal(size=(2, 5, 3)).astype("float32")

# A training run: `global_step` and Adam's slots are there too.
with tf.Graph().as_default(), tf1.Session() as session:
    tf.keras.utils.set_random_seed(1)
    cell = tf1.nn.rnn_cell.LSTMCell(2, use_peepholes=True)
    outputs = tf1.nn.dynamic_rnn(cell, tf.constant(x), dtype=tf.float32)[0]
    step = tf1.train.get_or_create_global_step()
    train = tf1.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(outputs**2), global_step=step)
    kept = tf1.get_variable("outputs", outputs.shape, trainable=False)
    tf1.get_variable("x", initializer=x, trainable=False)
    session.run(tf1.global_variables_initializer())
    for _ in range(3):
        session.run(train)
    session.run(tf1.assign(kept, outputs))
    tf1.train.Saver().save(session, f"{FOLDER}/tf1.ckpt", write_meta_graph=False)

# TensorFlow 2, whose names are the attributes of objects, with an optimizer.
model = tf.keras.Sequential([tf.keras.layers.Input((5, 3)), tf.keras.layers.GRU(2, return_sequences=True)])
model.compile("adam", "mse")
model.fit(x, x[:, :, :2], verbose=0)
outputs = tf.Variable(model(x))
tf.train.Checkpoint(model=model, x=tf.Variable(x), outputs=outputs).write(f"{FOLDER}/tf2")

# Every type, and shapes without numbers or axes, in two data files.
types = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool".split()
halves = [types[:6], types[6:]]
for number, half in enumerate(halves):
    names = [*half, "empty", "scalar"] if number else half
    tensors = [tf.cast(tf.constant([0, 1, 1]), name) for name in half]
    tensors += [tf.zeros((0, 3)), tf.constant(1.5)] if number else []
    tf.raw_ops.SaveV2(
        prefix=f"{FOLDER}/part{number}", tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )
tf.raw_ops.MergeV2Checkpoints(
    checkpoint_prefixes=[f"{FOLDER}/part0", f"{FOLDER}/part1"],
    destination_prefix=f"{FOLDER}/tf_types",
    delete_old_dirs=False,
)

# What is not read.
with tf.Graph().as_default(), tf1.Session() as session:
    partitioner = tf1.fixed_size_partitioner(2)
    tf1.get_variable("table", (4, 2), partitioner=partitioner)
    session.run(tf1.global_variables_initializer())
    tf1.train.Saver().save(session, f"{FOLDER}/tf_partitioned", write_meta_graph=False)
with tf.Graph().as_default(), tf1.Session() as session:
    tf1.get_variable("v", (2,))
    session.run(tf1.global_variables_initializer())
    saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
    saver.save(session, f"{FOLDER}/tf_v1.index", write_meta_graph=False)
os.remove(f"{FOLDER}/checkpoint")
