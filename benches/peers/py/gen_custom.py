"""Writes data/custom_<cell>_<workload>: seeded weights, states and inputs of the custom cells; outputs and gradients are
torch's in float64."""
import os, sys
import numpy as np, torch
sys.path.insert(0, os.path.dirname(__file__))
from pc import *

def norm(v, P, name):
    v = v - v.mean(1, keepdim=True)
    return v / torch.sqrt((v * v).mean(1, keepdim=True) + 1e-12) * P[name + "/gamma"] + P[name + "/beta"]

def step(cell, P, x, state):
    """tf.contrib's equations, forget_bias 1: the output, which is the last leaf of the new state too, and that state."""
    z = torch.cat([x, state[-1]], 1) @ P["kernel"]
    if cell == "custom/ugrnn":
        g, c = (z + P["bias"]).chunk(2, 1)
        g = torch.sigmoid(g + 1)
        return [g * state[0] + (1 - g) * torch.tanh(c)]
    if cell == "custom/lstm":
        i, j, f, o = (z + P["bias"]).chunk(4, 1)
        c = torch.sigmoid(f + 1) * state[0] + torch.sigmoid(i) * torch.tanh(j)
    else:
        i, j, f, o = (norm(v, P, n) for v, n in zip(z.chunk(4, 1), NORMS))
        c = norm(torch.sigmoid(f + 1) * state[0] + torch.sigmoid(i) * torch.tanh(j), P, "state")
    return [c, torch.sigmoid(o) * torch.tanh(c)]

torch.set_num_threads(2)
for k, wl in enumerate(dict.fromkeys(wl for wl, _ in CUSTOM_PLAN)):
    B, T, I, H = SHAPES[wl]
    for n, cell in enumerate(CUSTOM):
        d = os.path.join(DATA, cell.replace("/", "_") + "_" + wl); os.makedirs(d, exist_ok=True)
        if os.path.exists(os.path.join(d, "done")) and "--force" not in sys.argv:
            continue
        rng = np.random.default_rng(100000 + 1000 * k + n); s = 1 / np.sqrt(H)
        A = {name: rng.uniform(-s, s, shape).astype(np.float32) + np.float32(name.endswith("/gamma"))
             for name, shape in custom_weights(cell, I, H).items()}
        x = rng.standard_normal((T, B, I)).astype(np.float32)
        # The sequences start from zeros, as in the other workloads; one step alone does not.
        state = [(rng.uniform(-.5, .5, (B, H)) * (wl == "stream")).astype(np.float32) for _ in range(custom_leaves(cell))]
        P = {name: torch.tensor(v, dtype=torch.float64, requires_grad=True) for name, v in A.items()}
        X = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        now, ys = [torch.tensor(v, dtype=torch.float64) for v in state], []
        for t in range(T):
            now = step(cell, P, X[t], now); ys.append(now[-1])
        y = torch.stack(ys); out = {"x": x, "y": y.detach().numpy(), **A, **{f"state_{i}": v for i, v in enumerate(state)}}
        if (wl, "train") in CUSTOM_PLAN:
            dy = (rng.standard_normal((T, B, H)) * 0.1).astype(np.float32)
            g = torch.autograd.grad(y, [X, *P.values()], torch.tensor(dy, dtype=torch.float64))
            out |= {"dy": dy, "gx": g[0].numpy(), **{"g_" + name: v.numpy() for name, v in zip(P, g[1:])}}
        for name, v in out.items():
            np.ascontiguousarray(v, np.float32).tofile(os.path.join(d, name.replace("/", "_") + ".f32"))
        open(os.path.join(d, "done"), "w").close()
print("custom data ok")
