"""Loads files that rnn_cell::weights::keras exported into Keras's layers and compares what both compute.

    cargo test --features safetensors --test names exports    # writes target/tmp/exported_keras_*.safetensors
    pip install tensorflow==2.15.1 safetensors    # Keras 2, or: pip install keras jax safetensors    # Keras 3
    python tools/keras_load.py target/tmp
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

try:
    import keras
except ImportError:
    from tensorflow import keras
keras.backend.set_floatx("float64")
keras.mixed_precision.set_global_policy("float64")
if keras.backend.backend() == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)
L = keras.layers
MODELS = {
    "simple_rnn": lambda: [
        L.SimpleRNN(4, activation="relu", return_sequences=True, name="simple_rnn"),
        L.Dense(2, name="dense"),
    ],
    "lstm": lambda: [L.LSTM(4, return_sequences=True, name="lstm")],
    "gru": lambda: [L.GRU(4, return_sequences=True, name="gru")],
    "gru_before": lambda: [L.GRU(4, reset_after=False, return_sequences=True, name="gru")],
}


def name_of(weight):
    """Keras 3 has the name in `path`, Keras 2 in `name`."""
    return getattr(weight, "path", weight.name).removesuffix(":0").removeprefix("model/")


for case, make in MODELS.items():
    file = load_file(Path(sys.argv[1]) / f"exported_keras_{case}.safetensors")
    x, expected = file.pop("x"), file.pop("outputs")
    model = keras.Sequential([keras.Input(x.shape[1:]), *make()], name="model")
    for weight in model.weights:
        weight.assign(file.pop(name_of(weight)))
    assert not file, f"{case}: nobody has {list(file)}"
    error = np.abs(np.asarray(model(x)) - expected).max()
    print(f"{case}: outputs {expected.shape}, largest difference {error:.1e}")
    # Keras 3 computes a part in float32 whatever it is told.
    assert error < (1e-12 if keras.__version__.startswith("2.") else 2e-7), case
