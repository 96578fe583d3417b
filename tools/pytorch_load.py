"""Loads files that rnn_cell::weights::pytorch wrote into PyTorch's modules and compares what both compute.

    cargo test --features safetensors --test weights exporters::exported    # writes target/tmp/exported_*.safetensors
    cargo test --features safetensors --test names exports
    pip install torch safetensors
    python tools/pytorch_load.py target/tmp
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

MODULES = {
    "rnn": torch.nn.RNN(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "lstm": torch.nn.LSTM(3, 4, num_layers=2, batch_first=True),
    "lstm_proj": torch.nn.LSTM(3, 5, proj_size=2, bidirectional=True, batch_first=True),
    "gru": torch.nn.GRU(3, 4, num_layers=2, batch_first=True),
}

for case, module in MODULES.items():
    file = load_file(Path(sys.argv[1]) / f"exported_{case}.safetensors")
    x, expected = file.pop("x"), file.pop("outputs")
    module.double().load_state_dict(file, strict=True)
    with torch.no_grad():
        outputs, _ = module(x)
    error = (outputs - expected).abs().max().item()
    print(f"{case}: outputs {tuple(outputs.shape)}, largest difference {error:.1e}")
    assert error < 1e-12, case


class Module(torch.nn.Module):
    """A layer and what follows it, each under its own prefix."""

    def __init__(self):
        super().__init__()
        self.gru = torch.nn.GRU(3, 4, batch_first=True)
        self.linear = torch.nn.Linear(4, 2)


module = Module().double()
file = load_file(Path(sys.argv[1]) / "exported_module.safetensors")
x, expected = file.pop("x"), file.pop("outputs")
module.load_state_dict(file, strict=True)
error = (module.linear(module.gru(x)[0]) - expected).abs().max().item()
print(f"module: largest difference {error:.1e}")
assert error < 1e-12
