"""Loads files that rnn_cell::weights::flax and ::haiku exported into those libraries and compares what both compute.

    cargo test --features safetensors --test names exports    # writes target/tmp/exported_*.safetensors
    pip install flax dm-haiku safetensors
    python tools/jax_load.py target/tmp
"""

import sys
from pathlib import Path

import haiku as hk
import jax
import numpy as np
from flax import linen, nnx
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file

jax.config.update("jax_enable_x64", True)


def run_linen(make, x, file):
    return linen.RNN(make(4, dtype=x.dtype, param_dtype=x.dtype)).apply({"params": unflatten_dict(file, sep="/")}, x)


def run_nnx(make, x, file):
    cell = make(3, 4, dtype=x.dtype, param_dtype=x.dtype, rngs=nnx.Rngs(0))
    params = nnx.state(cell, nnx.Param)
    names = {"/".join(map(str, key)) for key, _ in nnx.to_flat_state(params)}
    assert names == set(file), (names, set(file))
    pairs = [(key, value.replace(file["/".join(map(str, key))])) for key, value in nnx.to_flat_state(params)]
    nnx.update(cell, nnx.from_flat_state(pairs))
    return nnx.RNN(cell)(x)


def run_haiku(make, x, file):
    def run(x):
        core = make(4)
        start = jax.tree.map(lambda array: array.astype(x.dtype), core.initial_state(x.shape[0]))
        return hk.dynamic_unroll(core, x, start, time_major=False)[0]

    model = hk.without_apply_rng(hk.transform(run))
    params = {}
    for name, array in file.items():
        module, _, own = name.rpartition("/")
        params.setdefault(module, {})[own] = array
    shapes = jax.tree.map(np.shape, model.init(jax.random.PRNGKey(1), x))
    assert shapes == jax.tree.map(np.shape, params), (shapes, jax.tree.map(np.shape, params))
    return model.apply(params, x)


CASES = {
    "flax_simple": (run_linen, linen.SimpleCell),
    "flax_lstm": (run_linen, linen.LSTMCell),
    "flax_gru": (run_linen, linen.GRUCell),
    "nnx_simple": (run_nnx, nnx.SimpleCell),
    "nnx_lstm": (run_nnx, nnx.OptimizedLSTMCell),
    "nnx_gru": (run_nnx, nnx.GRUCell),
    "haiku_vanilla_rnn": (run_haiku, hk.VanillaRNN),
    "haiku_lstm": (run_haiku, hk.LSTM),
    "haiku_gru": (run_haiku, hk.GRU),
}

with jax.default_matmul_precision("highest"):
    for case, (run, make) in CASES.items():
        file = load_file(Path(sys.argv[1]) / f"exported_{case}.safetensors")
        x, expected = file.pop("x"), file.pop("outputs")
        error = np.abs(np.asarray(run(make, x, file)) - expected).max()
        print(f"{case}: outputs {expected.shape}, largest difference {error:.1e}")
        assert error < 1e-12, case
