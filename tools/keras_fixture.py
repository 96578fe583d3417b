"""Writes tests/fixtures/keras_{f32,f64}.safetensors: layers' weights with an input and Keras's own outputs.

    pip install tensorflow==2.15.1 safetensors    # Keras 2
    python tools/keras_fixture.py
"""

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file

L = tf.keras.layers
LAYERS = {
    "simple_rnn": lambda **k: L.SimpleRNN(4, activation="relu", **k),
    "lstm": lambda **k: L.LSTM(4, **k),
    "lstm_hard_sigmoid": lambda **k: L.LSTM(4, recurrent_activation="hard_sigmoid", use_bias=False, **k),
    "gru": lambda **k: L.GRU(4, **k),
    "gru_reset_before": lambda **k: L.GRU(4, reset_after=False, **k),
    "gru_no_bias": lambda **k: L.GRU(4, use_bias=False, **k),
    "both": lambda **k: L.Bidirectional(L.LSTM(4, name="lstm", **k), name="bidirectional"),
}


def tensors_of(model):
    return {w.name.removesuffix(":0"): w.numpy() for w in model.weights}


for dtype in ("float32", "float64"):
    tf.keras.backend.clear_session()  # the names start again at lstm, gru, …
    tf.keras.backend.set_floatx(dtype)
    rng = np.random.default_rng(1)
    file = {}
    for case, make in LAYERS.items():
        layer = make(return_sequences=True)
        model = tf.keras.Sequential([layer])
        x = rng.normal(size=(2, 6, 3)).astype(dtype)
        model(x)
        # Biases start at 0, which would hide a wrong order.
        model.set_weights([rng.normal(scale=0.5, size=w.shape).astype(dtype) for w in model.weights])
        file |= {f"{case}/{name}": tensor for name, tensor in tensors_of(model).items()}
        file |= {f"{case}/x": x, f"{case}/outputs": model(x).numpy()}
    save_file(file, f"tests/fixtures/keras_{dtype.replace('float', 'f')}.safetensors")
