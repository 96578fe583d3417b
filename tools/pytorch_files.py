"""Writes tests/fixtures/readers/*.pt: what `torch.save` makes of state dicts and checkpoints, in both of its forms.

    pip install torch
    python tools/pytorch_files.py

A file that holds `x` and `outputs` is checked by running the model in `model`.
"""

import collections
import warnings
import zipfile

import torch

warnings.simplefilter("ignore")  # The old weight_norm is what old files were written with.
FOLDER = "tests/fixtures/readers"


def save(name, contents):
    torch.save(contents, f"{FOLDER}/{name}.pt")
    torch.save(contents, f"{FOLDER}/{name}_legacy.pt", _use_new_zipfile_serialization=False)


def checkpoint(module, state_dict=None):
    """A training checkpoint: the weights, what else people put beside them, and the module's answer."""
    x = torch.randn(2, 5, 3)
    with torch.no_grad():
        outputs, _ = module(x)
    return {
        "model": module.state_dict() if state_dict is None else state_dict,
        "epoch": 3,
        "loss": 0.25,
        "args": {"lr": 1e-3, "names": ["a", "b"], "best": None, "amp": False, "size": torch.Size([2, 3])},
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "x": x,
        "outputs": outputs,
    }


torch.manual_seed(1)
lstm = torch.nn.LSTM(3, 2, num_layers=2, bidirectional=True, batch_first=True)
save("lstm", checkpoint(lstm))

# A bare state dict.
gru = torch.nn.GRU(3, 2, batch_first=True)
save("gru", gru.state_dict())

# `DataParallel` puts `module.` before each name.
wrapped = torch.nn.DataParallel(gru)
save("data_parallel", checkpoint(gru, wrapped.state_dict()))

old = torch.nn.LSTM(3, 2, batch_first=True)
for name in ["weight_ih_l0", "weight_hh_l0"]:
    torch.nn.utils.weight_norm(old, name)
old.weight_hh_l0_g.data *= 1.5
save("weight_norm", checkpoint(old))

new = torch.nn.GRU(3, 2, batch_first=True)
torch.nn.utils.parametrizations.weight_norm(new, "weight_ih_l0")
torch.nn.utils.parametrizations.weight_norm(new, "weight_hh_l0", dim=1)
new.parametrizations.weight_hh_l0.original0.data *= 0.5
save("parametrizations", checkpoint(new))

# The optimizer's state has whole numbers as keys, and parameters of its own.
linear = torch.nn.Linear(2, 1)
adam = torch.optim.Adam(linear.parameters())
linear(torch.ones(1, 2)).sum().backward()
adam.step()
save("optimizer", {"model": linear.state_dict(), "optimizer": adam.state_dict(), "step": torch.tensor(7)})

# Views: transposed, sliced, stepped, of a storage that others share, without numbers, without axes, a parameter.
base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
save(
    "views",
    collections.OrderedDict(
        base=base,
        transposed=base.T,
        sliced=base[1:3, 2:5],
        stepped=base[::2, ::3],
        permuted=torch.arange(24, dtype=torch.float64).reshape(2, 3, 4).permute(2, 0, 1),
        scalar=base[2, 3],
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(base[0]),
        tied=base,
    ),
)

# Every type. The values are exact in each of them.
types = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64".split()
save("types", {name: torch.tensor([0, 1, 1, 0, 1]).to(getattr(torch, name)) for name in types})

# Whole modules hold classes, which are never looked up.
torch.save(linear, f"{FOLDER}/module.pt")
torch.save({"expanded": torch.ones(1).expand(1000, 1000)}, f"{FOLDER}/expanded.pt")
torch.save({"sparse": torch.eye(2).to_sparse()}, f"{FOLDER}/sparse.pt")
torch.save(gru.state_dict(), f"{FOLDER}/protocol4.pt", pickle_protocol=4)

# What was unpacked and packed again is compressed, and may be much smaller than what it becomes.
with zipfile.ZipFile(f"{FOLDER}/lstm.pt") as archive:
    with zipfile.ZipFile(f"{FOLDER}/compressed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
torch.save({"zeros": torch.zeros(2_500_000)}, f"{FOLDER}/bomb.pt")
with zipfile.ZipFile(f"{FOLDER}/bomb.pt") as archive:
    entries = [(name, archive.read(name)) for name in archive.namelist()]
with zipfile.ZipFile(f"{FOLDER}/bomb.pt", "w", zipfile.ZIP_DEFLATED) as packed:
    for name, contents in entries:
        packed.writestr(name, contents)
