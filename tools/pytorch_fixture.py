"""Writes tests/fixtures/pytorch_{f32,f64}.safetensors: modules' state dicts with an input and PyTorch's own outputs.

    pip install torch safetensors
    python tools/pytorch_fixture.py
"""

import torch
from safetensors.torch import save_file

MODULES = {
    "rnn_tanh": lambda: torch.nn.RNN(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "rnn_relu": lambda: torch.nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
    "lstm": lambda: torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "lstm_no_bias": lambda: torch.nn.LSTM(3, 4, num_layers=2, bias=False, batch_first=True),
    "lstm_proj": lambda: torch.nn.LSTM(3, 5, num_layers=2, proj_size=2, bidirectional=True, batch_first=True),
    "gru": lambda: torch.nn.GRU(3, 4, num_layers=3, batch_first=True),
    "gru_bidirectional": lambda: torch.nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "gru_no_bias": lambda: torch.nn.GRU(3, 4, bias=False, batch_first=True),
}


def tensors_of(module):
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


for dtype in (torch.float32, torch.float64):
    torch.manual_seed(1)
    file = {}
    for case, make in MODULES.items():
        module = make().to(dtype)
        x = torch.randn(2, 6, 3, dtype=dtype)
        with torch.no_grad():
            outputs, _ = module(x)
        file |= {f"{case}.{name}": tensor for name, tensor in tensors_of(module).items()}
        file |= {f"{case}/x": x, f"{case}/outputs": outputs.contiguous()}
    save_file(file, f"tests/fixtures/pytorch_{'f32' if dtype == torch.float32 else 'f64'}.safetensors")
