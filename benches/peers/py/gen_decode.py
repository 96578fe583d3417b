"""Writes data/decode: seeded weights and inputs of the decoders, and what torch makes of them in float64."""
import os, sys; sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np, torch
from pc import DATA, DECODE as D
import torch_decode as T

os.makedirs(D.dir, exist_ok=True)
if not os.path.exists(os.path.join(D.dir, "done")) or "--force" in sys.argv:
    rng = np.random.default_rng(7)
    # Output weights large enough for one token to lead: with a tie at every step nothing could be compared.
    scale = {"output": .3, "embedding": .5, "bias": .1}
    A = {n: (rng.uniform(-1, 1, s) * scale.get(n, (3 / s[0]) ** .5)).astype(np.float32) for n, s in D.weights.items()}
    A["output_bias"][:] = 0
    A["output_bias"][D.end] = -1e30     # no row ends
    A |= {f"memory_{b}": rng.uniform(-1, 1, (b, D.steps, D.units)).astype(np.float32) for b in D.batches}
    ints = {f"lengths_{b}": 30 + 20 * np.arange(b) // (b - 1) for b in D.batches}
    ints |= {n: rng.integers(1, D.tokens, (32, D.steps)) for n in ("said", "targets")}
    m = T.Model({n: A[n] for n in D.weights}, torch.float64)
    at = lambda b: (torch.tensor(A[f"memory_{b}"], dtype=torch.float64), torch.tensor(ints[f"lengths_{b}"]))
    tokens, logits = T.greedy(m, *at(32)); beams, scores = T.beam(m, *at(8))
    weights = torch.tensor(np.arange(D.steps) < ints["lengths_32"][:, None], dtype=torch.float64)
    loss, d = T.train(m, *at(32), torch.tensor(ints["said"]), torch.tensor(ints["targets"]), weights)
    ints |= {"greedy_ids": tokens, "beam_ids": beams}
    A |= {"greedy_logits": logits, "beam_scores": scores, "loss": loss.detach()[None], "d_memory": d["memory"],
          **{"d_" + n: d[n] for n in D.weights if n in d and n != "output_bias"}}
    for n, v in A.items(): np.ascontiguousarray(v, np.float32).tofile(os.path.join(D.dir, n + ".f32"))
    for n, v in ints.items(): np.ascontiguousarray(v, np.int32).tofile(os.path.join(D.dir, n + ".i32"))
    open(os.path.join(D.dir, "done"), "w").close()
print("decode data ok")
