#!/usr/bin/env python3
"""Resets, carried windows, grouped GRU, minGRU and minLSTM, by torch autograd.

    venv_torch/bin/python make_torch.py OUT_DIR [--table cases_other] [--only SUBSTRING]

torch's own LSTM, GRU and RNN, a step at a time where the state is touched between steps; minGRU and minLSTM are the
PyPI package minGRU-pytorch's (the `_log` kinds).  Weights keep torch's state_dict names.
"""
import argparse
import importlib
import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import torch
from importlib.metadata import PackageNotFoundError, version

from golden_common import FORMAT_VERSION, LOSS, Draw, case_seed, emit

torch.set_num_threads(1)
NETS = dict(torch_lstm=torch.nn.LSTM, torch_gru=torch.nn.GRU, torch_rnn_tanh=torch.nn.RNN)


def leaf(v, td):
    return torch.tensor(np.ascontiguousarray(v), dtype=td, requires_grad=True)


def finish(vals, leaves, params, results, draw, np_dtype, td):
    """Cotangents, loss, gradients -> tensors."""
    cot = {k: draw.uniform(tuple(results[k].shape), 1.0) for k in sorted(results)}
    loss = sum((results[k] * torch.tensor(cot[k], dtype=td)).sum() for k in sorted(results))
    loss.backward()
    tensors = {k: np.ascontiguousarray(v).astype(np_dtype) for k, v in vals.items()}
    tensors.update({k: v.detach().numpy() for k, v in results.items()})
    tensors.update({"cotangent/" + k: v.astype(np_dtype) for k, v in cot.items()})
    for k, v in list(leaves.items()) + list(params.items()):
        tensors["grad/" + k] = np.zeros(v.shape, np_dtype) if v.grad is None else v.grad.numpy()
    tensors["loss"] = np.array([loss.item()], np_dtype)
    return tensors


def draw_net(draw, net, vals, case, td):
    for n in net.state_dict():
        vals[n] = draw.uniform(tuple(net.state_dict()[n].shape), case["scale"])
    net.load_state_dict({n: torch.tensor(vals[n], dtype=td) for n in net.state_dict()})
    return dict(net.named_parameters())


def draw_resets(draw, case):
    B, T = case["batch"], case["seq"]
    if case["resets"] is None:
        return None
    if case["resets"] == "all":
        return np.ones((B, T), np.uint8)
    if case["resets"] == "first_and_past":
        lens = np.array(case["lens"])
        t = np.arange(T)[None, :]
        return ((t == 0) | (t >= lens[:, None])).astype(np.uint8)
    return (draw.uniform((B, T), 1.0, low=0.0) < 0.35).astype(np.uint8)


def run_steps(case, seed, np_dtype):
    """Resets and carried windows."""
    draw = Draw(seed)
    td = torch.float64 if np_dtype is np.float64 else torch.float32
    B, T, I, H = (case[k] for k in ("batch", "seq", "input", "num_units"))
    net = NETS[case["cell"]](I, H, dtype=td)
    names = ["c", "h"] if case["cell"] == "torch_lstm" else ["h"]
    x = draw.normal((B, T, I))
    vals = {"x": np.swapaxes(x, 0, 1) if case["time_major"] else x}
    if case["init"]:
        for s in names:
            vals["initial_state/" + s] = draw.uniform((B, H), 0.5)
    leaves = {k: leaf(v, td) for k, v in vals.items()}
    params = draw_net(draw, net, vals, case, td)
    resets = draw_resets(draw, case)
    X = leaves["x"] if case["time_major"] else leaves["x"].transpose(0, 1)
    zero = {s: torch.zeros(B, H, dtype=td) for s in names}
    first = {s: leaves["initial_state/" + s] for s in names} if case["init"] else zero
    back = first if case["reset_to"] == "initial_state" else zero
    lens = torch.tensor([T] * B if case["lens"] is None else case["lens"])
    state, outs = dict(first), []
    for t in range(T):
        if case["window"] and t and t % case["window"] == 0:
            state = {s: v.detach() for s, v in state.items()}
        live = (t < lens)[:, None]
        if resets is not None:
            hit = torch.tensor(resets[:, t].astype(bool))[:, None] & live
            state = {s: torch.where(hit, back[s], state[s]) for s in names}
        hx = {s: state[s][None] for s in names}
        y, new = net(X[t:t + 1], (hx["h"], hx["c"]) if len(names) == 2 else hx["h"])
        new = dict(h=new[0][0], c=new[1][0]) if len(names) == 2 else dict(h=new[0])
        outs.append(torch.where(live, y[0], torch.zeros_like(y[0])))
        state = {s: torch.where(live, new[s], state[s]) for s in names}
    results = {"outputs": torch.stack(outs, 0 if case["time_major"] else 1)}
    results.update({"final_state/" + s: v for s, v in state.items()})
    tensors = {}
    if case["window"]:
        cot = Draw(seed)                                  # the cotangents `finish` will draw: same stream, same place
        cot.rng.bit_generator.state = draw.rng.bit_generator.state
        cots = {k: cot.uniform(tuple(results[k].shape), 1.0) for k in sorted(results)}
        ks = sorted(params)
        for w in range(-(-T // case["window"])):
            a, b = w * case["window"], min(T, (w + 1) * case["window"])
            axis = (slice(None), slice(a, b)) if not case["time_major"] else (slice(a, b),)
            loss = (results["outputs"][axis] * torch.tensor(cots["outputs"][axis], dtype=td)).sum()
            if b == T:
                loss = loss + sum((state[s] * torch.tensor(cots["final_state/" + s], dtype=td)).sum() for s in names)
            for k, g in zip(ks, torch.autograd.grad(loss, [params[k] for k in ks], retain_graph=True)):
                tensors["window_grad/%d/%s" % (w, k)] = g.numpy()
    tensors.update(finish(vals, leaves, params, results, draw, np_dtype, td))
    if resets is not None:
        tensors["resets"] = np.ascontiguousarray(resets.T if case["time_major"] else resets)
    if case["lens"] is not None:
        tensors["sequence_length"] = np.asarray(case["lens"], np.int64)
    return tensors


def run_grouped(case, seed, np_dtype):
    """DeepFilterNet's GroupedGRU (names, layouts, shuffle), but h_0 is not detached."""
    draw = Draw(seed)
    td = torch.float64 if np_dtype is np.float64 else torch.float32
    B, T, I, H, n, NL = (case[k] for k in ("batch", "seq", "input", "num_units", "groups", "num_layers"))
    layers = torch.nn.ModuleList()
    for k in range(NL):
        layer = torch.nn.Module()
        layer.layers = torch.nn.ModuleList(torch.nn.GRU((I if k == 0 else H) // n, H // n, batch_first=True,
                                                        bias=case["bias"], dtype=td) for _ in range(n))
        layers.append(layer)
    net = torch.nn.Module()
    net.grus = layers
    vals = {"x": draw.normal((B, T, I))}
    if case["init"]:
        vals["h_0"] = draw.uniform((NL * n, B, H // n), 0.5)
    leaves = {k: leaf(v, td) for k, v in vals.items()}
    params = draw_net(draw, net, vals, case, td)
    h0 = leaves["h_0"] if case["init"] else torch.zeros(NL * n, B, H // n, dtype=td)
    x, added, last = leaves["x"], 0.0, []
    for k, layer in enumerate(layers):
        ys = []
        for g, one in enumerate(layer.layers):
            y, h = one(x.chunk(n, -1)[g], h0[k * n + g:k * n + g + 1])
            ys.append(y)
            last.append(h)
        x = torch.cat(ys, -1)
        if case["shuffle"] and k < NL - 1:
            x = x.reshape(B, T, H // n, n).transpose(2, 3).reshape(B, T, H)
        added = added + x
    results = {"outputs": added if case["add_outputs"] else x, "h_n": torch.cat(last, 0)}
    return finish(vals, leaves, params, results, draw, np_dtype, td)


def min_net(case, td):
    lstm = case["cell"].startswith("min_lstm")
    if case["cell"].endswith("_log"):
        from minGRU_pytorch.minGRU import minGRU
        from minGRU_pytorch.minLSTM import minLSTM
        return (minLSTM if lstm else minGRU)(case["input"], case["num_units"] / case["input"], case["proj_out"]).to(td)
    net = torch.nn.Module()
    I, H = case["input"], case["num_units"]
    setattr(net, "to_hidden_and_f_i_gate" if lstm else "to_hidden_and_gate",
            torch.nn.Linear(I, (3 if lstm else 2) * H, bias=False, dtype=td))
    if case["proj_out"]:
        net.to_out = torch.nn.Linear(H, I, bias=False, dtype=td)
    return net


def linear_row(net, case, x, h):
    """The paper's own sequential form: no g, the state may be negative.  x (1, T, I), h (1, 1, H)."""
    outs = []
    for t in range(x.shape[1]):
        if case["cell"] == "min_gru_linear":
            cand, z = net.to_hidden_and_gate(x[:, t:t + 1]).chunk(2, -1)
            z = torch.sigmoid(z)
            h = (1 - z) * h + z * cand
        else:
            cand, f, i = net.to_hidden_and_f_i_gate(x[:, t:t + 1]).chunk(3, -1)
            f, i = torch.sigmoid(f), torch.sigmoid(i)
            h = f / (f + i) * h + i / (f + i) * cand
        outs.append(h)
    return torch.cat(outs, 1), h


def one_by_one(net, x, h):
    """The package a step at a time."""
    outs = []
    for t in range(x.shape[1]):
        y, h = net(x[:, t:t + 1], h, return_next_prev_hidden=True)
        outs.append(y)
    return torch.cat(outs, 1), h


def run_scan(case, seed, np_dtype):
    draw = Draw(seed)
    td = torch.float64 if np_dtype is np.float64 else torch.float32
    B, T, I, H = (case[k] for k in ("batch", "seq", "input", "num_units"))
    net, log = min_net(case, td), case["cell"].endswith("_log")
    vals = {"x": draw.normal((B, T, I))}
    if case["init"]:          # the log-space form can only hold positive states
        vals["initial_state/h"] = draw.uniform((B, H), 1.5, low=0.125) if log else draw.uniform((B, H), 1.5)
    leaves = {k: leaf(v, td) for k, v in vals.items()}
    params = draw_net(draw, net, vals, case, td)
    out_width = I if case["proj_out"] else H
    outs, last, parallel = [], [], []
    for b in range(B):
        n = T if case["lens"] is None else case["lens"][b]
        x = leaves["x"][b:b + 1, :n]
        h = leaves["initial_state/h"][b:b + 1, None] if case["init"] else None
        if n == 0:
            y, h = torch.zeros(1, 0, out_width, dtype=td), h
            both = y
        elif not log:
            y, h = linear_row(net, case, x, torch.zeros(1, 1, H, dtype=td) if h is None else h)
            both = y
        else:
            with torch.no_grad():
                both = net(x, h)
            # minLSTM's parallel mode takes log_g(h_0) for log(h_0): its one-step mode is the right one
            y, h = (one_by_one if case["cell"] == "min_lstm_log" else
                    lambda net, x, h: net(x, h, return_next_prev_hidden=True))(net, x, h)
        pad = torch.zeros(1, T - n, out_width, dtype=td)
        outs.append(torch.cat([y, pad], 1))
        parallel.append(torch.cat([both, pad], 1))
        last.append(torch.zeros(1, H, dtype=td) if h is None else h[:, 0])
    results = {"outputs": torch.cat(outs, 0), "final_state/h": torch.cat(last, 0)}
    gap = float((torch.cat(parallel, 0) - results["outputs"]).detach().abs().max())
    tensors = finish(vals, leaves, params, results, draw, np_dtype, td)
    if case["cell"] == "min_lstm_log":
        tensors["package_parallel/outputs"] = torch.cat(parallel, 0).numpy()
        case["gap"] = "%.3e" % gap if np_dtype is np.float64 else case.get("gap")
    else:
        assert gap < 1e-6, gap
    if case["lens"] is not None:
        tensors["sequence_length"] = np.asarray(case["lens"], np.int64)
    return tensors


RUN = dict(resets=run_steps, carried_windows=run_steps, grouped_gru=run_grouped, scan=run_scan)
GATES = dict(torch_lstm="i,f,g,o", torch_gru="r,z,n", grouped_gru="r,z,n", torch_rnn_tanh="none", min_gru_log="hidden,z",
             min_gru_linear="hidden,z", min_lstm_log="hidden,f,i", min_lstm_linear="hidden,f,i")


def package():
    try:
        return version("mingru-pytorch")
    except PackageNotFoundError:
        return "0.2.1"


def metadata(case, which, seed):
    keys = ("cell", "num_units", "batch", "seq", "input", "time_major", "api")
    meta = dict({k: case[k] for k in keys}, format_version=FORMAT_VERSION, framework="torch",
                framework_version=torch.__version__.split("+")[0], numpy_version=np.__version__, set=which,
                case=case["name"], seed=seed, loss=LOSS.replace("final_state/*", "final_state/*, h_n"),
                weight_scale=case["scale"], sequence_length=case["lens"] is not None, initial_state=case["init"],
                gate_order=GATES[case["cell"]])
    if case["api"] in ("resets", "carried_windows"):
        meta.update(resets=case["resets"] is not None, reset_to=case["reset_to"], window=case["window"])
    if case["api"] == "grouped_gru":
        meta.update({k: case[k] for k in ("groups", "num_layers", "shuffle", "add_outputs", "bias")})
    if case["api"] == "scan":
        meta.update(proj_out=case["proj_out"])
        if case["cell"].endswith("_log"):
            meta["package"] = "minGRU-pytorch " + package()
        if "gap" in case:
            meta["package_parallel_max_difference"] = case["gap"]
    spec = {k: v for k, v in case.items() if k not in ("name", "dtypes", "lens", "init", "batch", "seq", "scale", "gap", "resets",
                                                       "api", "time_major", "cell")}
    meta["cell_spec"] = dict(spec, kind=case["cell"])
    return meta


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out")
    ap.add_argument("--table", default="cases_other")
    ap.add_argument("--only", default="")
    a = ap.parse_args()
    table = importlib.import_module(a.table)
    for case in table.torch_cases():
        if a.only not in case["name"]:
            continue
        seed = case_seed(table.SEED, case["name"])
        runs = {"f64": RUN[case["api"]](case, seed, np.float64), "f32": RUN[case["api"]](case, seed, np.float32)}
        emit(a.out, case, runs, metadata(case, table.SET, seed))


if __name__ == "__main__":
    main()
