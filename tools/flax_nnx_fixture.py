"""Writes tests/fixtures/readers/flax_nnx.npz: the parameters of nnx's cells with an input and Flax's own outputs.

    pip install flax
    python tools/flax_nnx_fixture.py
"""

import jax
import numpy as np
from flax import nnx

rng = np.random.default_rng(1)
x = rng.normal(size=(2, 5, 3)).astype("f4")
file = {"x": x}
CELLS = {"simple": nnx.SimpleCell, "lstm": nnx.LSTMCell, "optimized": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}
with jax.default_matmul_precision("highest"):
    for name, make in CELLS.items():
        cell = make(3, 2, rngs=nnx.Rngs(0))
        state = nnx.state(cell, nnx.Param)
        # Biases start at 0, which would hide a wrong order.
        state = jax.tree.map(lambda array: rng.normal(scale=0.5, size=array.shape).astype("f4"), state)
        nnx.update(cell, state)
        file |= {f"{name}/" + "/".join(map(str, key)): value.get_value() for key, value in nnx.to_flat_state(state)}
        file[f"outputs/{name}"] = nnx.RNN(cell)(x)
np.savez("tests/fixtures/readers/flax_nnx.npz", **{name: np.asarray(array) for name, array in file.items()})
