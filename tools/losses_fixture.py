"""Writes tests/fixtures/losses.json: PyTorch's losses and gradients, and dense layers of PyTorch and Flax.

    pip install torch flax
    python tools/losses_fixture.py
"""

import json
from pathlib import Path

import jax
import numpy as np
import torch
from flax import linen as nn
from torch.nn import functional as F

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(17)


def weighted(losses, logits, weights):
    """The weighted mean of losses and its gradient."""
    loss = (weights * losses).sum() / weights.sum()
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
    return {"loss": loss.item(), "gradient": gradient.tolist()}


shape = (2, 3, 4)
logits = torch.tensor(rng.normal(size=shape) * 4, requires_grad=True)
with torch.no_grad():
    logits[0, 0, :2] = torch.tensor([60.0, -60.0])
probabilities = torch.tensor(rng.uniform(size=shape))
classes = torch.tensor(rng.integers(0, 4, size=shape[:2]))
numbers = torch.tensor(rng.normal(size=shape))
of_each = torch.tensor(rng.uniform(size=shape))
of_step = torch.tensor([[1.0, 0.5, 0.25], [2.0, 0.0, 0.0]])
bce = F.binary_cross_entropy_with_logits(logits, probabilities, reduction="none")
mse = F.mse_loss(logits, numbers, reduction="none")
smooth = F.cross_entropy(logits.reshape(6, 4), classes.ravel(), reduction="none", label_smoothing=0.3).reshape(2, 3)
ones, of_all = torch.ones(shape, dtype=torch.float64), of_step[..., None].expand(shape)
losses = {
    "sigmoid": weighted(bce, logits, ones),
    "sigmoid_weighted": weighted(bce, logits, of_each),
    "sigmoid_steps": weighted(bce, logits, of_all),
    "squares": weighted(mse, logits, ones),
    "squares_weighted": weighted(mse, logits, of_each),
    "squares_steps": weighted(mse, logits, of_all),
    "smooth": weighted(smooth, logits, of_step),
}

x = rng.normal(size=(5, 3))
linear = torch.nn.Linear(3, 2, dtype=torch.float64)
dense = nn.Dense(2, param_dtype=np.float64, bias_init=nn.initializers.normal())
variables = dense.init(jax.random.key(1), x)
fixture = {
    "versions": {"torch": torch.__version__},
    "inputs": {
        "logits": logits.tolist(),
        "probabilities": probabilities.tolist(),
        "classes": classes.tolist(),
        "numbers": numbers.tolist(),
        "of_each": of_each.tolist(),
        "of_step": of_step.tolist(),
    },
    "losses": losses,
    "x": x.tolist(),
    "linear": {name: value.tolist() for name, value in linear.state_dict().items()}
    | {"y": linear(torch.tensor(x)).tolist()},
    "dense": {name: np.asarray(value).tolist() for name, value in variables["params"].items()}
    | {"y": np.asarray(dense.apply(variables, x)).tolist()},
}
path = Path(__file__).parent.parent / "tests" / "fixtures" / "losses.json"
path.write_text(json.dumps(fixture) + "\n")
