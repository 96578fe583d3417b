"""Writes tests/fixtures/optimizers.json: a few steps of PyTorch's and optax's optimizers, and optax's schedules.

    pip install jax optax torch
    python tools/optimizer_fixture.py
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(17)
STEPS = 7
start = {"kernel": rng.normal(size=(2, 3)), "bias": rng.normal(size=3)}
# From tiny to large, so that epsilon and bias correction show; one kind is nearly constant, so that a variance is small.
scales = {"kernel": np.array([[1e-3, 0.1, 1.0], [10.0, 1e-2, 3.0]]), "bias": np.array([1.0, 1e-2, 0.3])}
gradients = [
    {name: scale * (1.0 + rng.normal(size=scale.shape) * np.linspace(0.05, 2.0, scale.size).reshape(scale.shape))
     for name, scale in scales.items()}
    for _ in range(STEPS)
]


def of_torch(make):
    weights = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    optimizer = make(weights)
    for gradient in gradients:
        for name, weight in weights.items():
            weight.grad = torch.tensor(gradient[name])
        optimizer.step()
    return {name: weight.detach().numpy().ravel().tolist() for name, weight in weights.items()}


def of_optax(optimizer):
    weights = {name: jnp.array(value) for name, value in start.items()}
    state = optimizer.init(weights)
    for gradient in gradients:
        updates, state = optimizer.update({k: jnp.array(v) for k, v in gradient.items()}, state, weights)
        weights = optax.apply_updates(weights, updates)
    return {name: np.asarray(weight).ravel().tolist() for name, weight in weights.items()}


def groups(weights):
    return [{"params": [weights["kernel"]]}, {"params": [weights["bias"]], "weight_decay": 0.0}]


def in_f64(schedule):
    """optax counts in 32 bits and computes the rate in as many."""
    return lambda count: schedule(count.astype(jnp.float64))


t = torch.optim
all_of = lambda weights: list(weights.values())
# The first update of TensorFlow's RMSProp finds a mean square of 1 and eps inside of the root.
rms = dict(decay=0.8, eps=1e-4, initial_scale=1.0, eps_in_sqrt=True)
cosine = optax.warmup_cosine_decay_schedule(0.0, 0.3, warmup_steps=2, decay_steps=6, end_value=0.03)
cases = {
    "sgd_decay": of_torch(lambda w: t.SGD(all_of(w), lr=0.05, momentum=0.9, weight_decay=0.1)),
    "nesterov": of_torch(lambda w: t.SGD(all_of(w), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1)),
    "adam": of_torch(lambda w: t.Adam(all_of(w), lr=0.1, betas=(0.8, 0.95), eps=0.01)),
    "adam_decay": of_torch(lambda w: t.Adam(all_of(w), lr=0.1, betas=(0.8, 0.95), eps=0.01, weight_decay=0.3)),
    "adamw": of_torch(lambda w: t.AdamW(all_of(w), lr=0.1, betas=(0.8, 0.95), eps=0.01, weight_decay=0.3)),
    "adamw_defaults": of_torch(lambda w: t.AdamW(all_of(w))),
    "adamw_kernel": of_torch(lambda w: t.AdamW(groups(w), lr=0.1, weight_decay=0.3)),
    "rms": of_optax(optax.rmsprop(0.1, **rms)),
    "rms_momentum": of_optax(optax.rmsprop(0.1, momentum=0.7, **rms)),
    "rms_centered": of_optax(optax.rmsprop(0.1, momentum=0.7, centered=True, **rms)),
    "adamw_cosine": of_optax(optax.adamw(in_f64(cosine), b1=0.8, b2=0.95, eps=0.01, weight_decay=0.3)),
    "sgd_exponential": of_optax(optax.sgd(in_f64(optax.exponential_decay(0.3, 3, 0.5)), momentum=0.9)),
}
steps = range(14)
schedules = {
    "exponential": optax.exponential_decay(0.3, 3, 0.5),
    "staircase": optax.exponential_decay(0.3, 3, 0.5, staircase=True),
    "cosine": optax.cosine_decay_schedule(0.3, 8, alpha=0.1),
    "cosine_warm_up": optax.warmup_cosine_decay_schedule(0.0, 0.3, warmup_steps=4, decay_steps=12, end_value=0.03),
    "warm_up": optax.linear_schedule(0.0, 0.3, 5),
}
flat = lambda arrays: {name: array.ravel().tolist() for name, array in arrays.items()}
fixture = {
    "versions": {"torch": torch.__version__, "optax": optax.__version__},
    "start": flat(start),
    "gradients": [flat(gradient) for gradient in gradients],
    "cases": cases,
    "schedules": {name: [float(schedule(jnp.float64(step))) for step in steps] for name, schedule in schedules.items()},
}
path = Path(__file__).parent.parent / "tests" / "fixtures" / "optimizers.json"
path.write_text(json.dumps(fixture, indent=1) + "\n")
