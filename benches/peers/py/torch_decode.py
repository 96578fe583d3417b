"""A decoder with Bahdanau attention as a torch user writes it, after tf.contrib.seq2seq's equations: greedy, beam search, and a
teacher-forced training step."""
import torch
from torch.nn import functional as F
from pc import DECODE as D

class Model(torch.nn.Module):
    """Weights by TensorFlow's names, and the LSTM's in torch's layout, its forget bias in its bias."""
    def __init__(self, arrays, dtype):
        super().__init__()
        A = {n: torch.tensor(v, dtype=dtype) for n, v in arrays.items()}
        order = lambda w: torch.cat([w.chunk(4, -1)[k] for k in (0, 2, 1, 3)], -1)    # i, j, f, o to torch's i, f, g, o
        self.lstm = torch.nn.LSTMCell(D.units * 2, D.units, dtype=dtype)
        with torch.no_grad():
            kernel, bias = order(A["kernel"]).T, order(A["bias"])
            bias[D.units:2 * D.units] += 1
            for to, v in zip(self.lstm.parameters(), (kernel[:, :2 * D.units], kernel[:, 2 * D.units:], bias, 0 * bias)):
                to.copy_(v)
        for n in ("memory_layer", "query_layer", "attention_v", "attention_layer", "output", "output_bias", "embedding"):
            setattr(self, n, torch.nn.Parameter(A[n]))

    def start(self, memory, lengths, tile=1):
        """What stays the same over a run: memory, keys and the mask; and the first state."""
        keys, ended = memory @ self.memory_layer, torch.arange(memory.shape[1]) >= lengths[:, None]
        memory, keys, ended = (v.repeat_interleave(tile, 0) for v in (memory, keys, ended))
        zeros = memory.new_zeros(len(memory), D.units)
        return (memory, keys, ended), (zeros, zeros, zeros)

    def step(self, fixed, x, state):
        (memory, keys, ended), (h, c, attention) = fixed, state
        h, c = self.lstm(torch.cat([x, attention], 1), (h, c))
        scores = torch.tanh(keys + (h @ self.query_layer)[:, None]) @ self.attention_v
        weights = torch.softmax(scores.masked_fill(ended, -torch.inf), 1)
        context = torch.bmm(weights[:, None], memory)[:, 0]
        attention = torch.cat([h, context], 1) @ self.attention_layer
        return attention, (h, c, attention)

    def logits(self, outputs):
        return outputs @ self.output + self.output_bias

@torch.no_grad()
def greedy(m, memory, lengths):
    fixed, state = m.start(memory, lengths)
    token, logits, tokens = torch.full((len(memory),), D.start), [], []
    for _ in range(D.steps):
        output, state = m.step(fixed, m.embedding[token], state)
        logits.append(m.logits(output)); token = logits[-1].argmax(1); tokens.append(token)
    return torch.stack(tokens, 1), torch.stack(logits, 1)

@torch.no_grad()
def beam(m, memory, lengths):
    """No beam ends, so that all have one length, and its penalty divides the scores at the end."""
    B, W = len(memory), D.beam
    fixed, state = m.start(memory, lengths, W)
    token = torch.full((B * W,), D.start)
    scores = memory.new_full((B, W), -torch.inf); scores[:, 0] = 0
    first, ids, parents = torch.arange(B)[:, None] * W, [], []
    for _ in range(D.steps):
        output, state = m.step(fixed, m.embedding[token], state)
        total = scores[..., None] + torch.log_softmax(m.logits(output), 1).view(B, W, D.tokens)
        scores, best = total.view(B, -1).topk(W)
        parent, token = best // D.tokens, (best % D.tokens)
        ids.append(token); parents.append(parent)
        token, rows = token.reshape(-1), (first + parent).reshape(-1)
        state = tuple(v[rows] for v in state)
    at, found = torch.arange(W).expand(B, W), []
    for token, parent in zip(reversed(ids), reversed(parents)):
        found.append(token.gather(1, at)); at = parent.gather(1, at)
    return torch.stack(found[::-1], 1), scores / ((5 + D.steps) / 6)

def train(m, memory, lengths, said, targets, weights):
    """The loss, and the gradients of the memory and of all weights by name."""
    memory = memory.requires_grad_(True)
    fixed, state = m.start(memory, lengths)
    outputs, inputs = [], m.embedding[said]
    for t in range(D.steps):
        output, state = m.step(fixed, inputs[:, t], state); outputs.append(output)
    logits = m.logits(torch.stack(outputs, 1))
    loss = (F.cross_entropy(logits.transpose(1, 2), targets, reduction="none") * weights).sum() / weights.sum()
    names = ["memory", *(n for n, _ in m.named_parameters())]
    return loss, dict(zip(names, torch.autograd.grad(loss, [memory, *m.parameters()])))
