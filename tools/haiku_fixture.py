"""Writes tests/fixtures/readers/haiku.npz: the parameters of Haiku's modules with an input and Haiku's own outputs.

    pip install dm-haiku jax
    python tools/haiku_fixture.py
"""

import haiku as hk
import jax
import numpy as np

rng = np.random.default_rng(1)
x = rng.normal(size=(2, 5, 3)).astype("f4")
file = {"x": x}
CORES = {
    "one_bias": lambda: hk.VanillaRNN(2, double_bias=False),
    "vanilla_rnn": lambda: hk.VanillaRNN(2),
    "lstm": lambda: hk.LSTM(2),
    "gru": lambda: hk.GRU(2),
}
with jax.default_matmul_precision("highest"):
    for case, make in CORES.items():

        def run(x):
            core = make()
            return hk.dynamic_unroll(core, x, core.initial_state(x.shape[0]), time_major=False)[0]

        model = hk.without_apply_rng(hk.transform(run))
        params = model.init(jax.random.PRNGKey(1), x)
        # Biases start at 0, which would hide a wrong order.
        params = jax.tree.map(lambda array: rng.normal(scale=0.5, size=array.shape).astype("f4"), params)
        file |= {f"{case}/{module}/{name}": w for module, ws in params.items() for name, w in ws.items()}
        file[f"outputs/{case}"] = model.apply(params, x)
np.savez("tests/fixtures/readers/haiku.npz", **{name: np.asarray(array) for name, array in file.items()})
