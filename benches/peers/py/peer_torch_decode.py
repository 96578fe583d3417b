"""The decoders of torch_decode.py, compared with float64 and timed. Training computes all steps of all rows, as torch does."""
import os, sys; sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pc import *
from pc import DECODE as D
import torch, torch_decode as T
TH = int(sys.argv[1]); torch.set_num_threads(TH)
b = Bench("torch", TH, ("decode",), DECODE_PLAN)
m = T.Model({n: D.load(n, s) for n, s in D.weights.items()}, torch.float32)
at = lambda n: (torch.tensor(D.load(f"memory_{n}", (n, D.steps, D.units))), torch.tensor(D.ints(f"lengths_{n}")))

def same(name, got, want):
    equal = float((got.numpy() == want.reshape(got.shape)).mean())
    assert equal == 1, f"{name}: {equal:.4f} of the tokens are equal"

for cell, wl, mode in b.plan():
    try:
        if wl == "greedy":
            arguments = at(32); f = lambda: T.greedy(m, *arguments)
            tokens, logits = f(); same("tokens", tokens, D.ints("greedy_ids"))
            live = np.arange(D.tokens) != D.end
            error = check("logits", logits.numpy()[..., live], D.load("greedy_logits", logits.shape)[..., live], 1e-3)
        elif wl == "beam":
            arguments = at(8); f = lambda: T.beam(m, *arguments)
            tokens, scores = f(); same("beams", tokens, D.ints("beam_ids"))
            error = check("scores", scores.numpy(), D.load("beam_scores", scores.shape), 1e-3)
        else:
            memory, lengths = at(32); ids = [torch.tensor(D.ints(n).reshape(32, D.steps)).long() for n in ("said", "targets")]
            weights = (torch.arange(D.steps) < lengths[:, None]).float()
            f = lambda: T.train(m, memory, lengths, *ids, weights)
            loss, d = f(); check("loss", loss.detach().numpy(), D.load("loss", ()), 1e-4)
            relative = lambda n, got, want: check(n, got / abs(want).max(), want / abs(want).max(), 1e-3)
            error = max(relative(n, v.numpy(), D.load("d_" + n, tuple(v.shape))) for n, v in d.items()
                        if n in ("memory", "embedding", "memory_layer", "query_layer", "attention_v", "attention_layer", "output"))
        print(f"{wl}: largest error {error:.1e}")
        b.time(cell, wl, mode, f, error=error)
    except Exception as e:
        print("FAIL", wl, err_note(e)); b.skip(cell, wl, mode, err_note(e))
