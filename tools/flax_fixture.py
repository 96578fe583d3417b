"""Writes tests/fixtures/flax_{f32,f64}.safetensors: cells' parameters with an input and Flax's own outputs.

    pip install flax safetensors
    python tools/flax_fixture.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict
from safetensors.flax import save_file

jax.config.update("jax_enable_x64", True)
CELLS = {"simple": nn.SimpleCell, "lstm": nn.LSTMCell, "optimized_lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}


def tensors_of(variables):
    return flatten_dict(variables["params"], sep="/")


for dtype in ("float32", "float64"):
    rng = np.random.default_rng(1)
    file = {}
    for case, cell in CELLS.items():
        rnn = nn.RNN(cell(4, dtype=dtype, param_dtype=dtype))
        x = jnp.asarray(rng.normal(size=(2, 6, 3)), dtype)
        variables = rnn.init(jax.random.key(1), x)
        # Biases start at 0, which would hide a wrong order.
        variables = jax.tree.map(lambda v: jnp.asarray(rng.normal(scale=0.5, size=v.shape), dtype), variables)
        with jax.default_matmul_precision("highest"):
            outputs = rnn.apply(variables, x)
        file |= {f"{case}/{name}": tensor for name, tensor in tensors_of(variables).items()}
        file |= {f"{case}/x": x, f"{case}/outputs": outputs}
    save_file(file, f"tests/fixtures/flax_{dtype.replace('float', 'f')}.safetensors")
