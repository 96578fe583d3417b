"""Writes f64.csv: x, tanh(x), sigmoid(x), each the hexadecimal bits of the nearest double, from 150-digit decimals."""

import random
import struct
from decimal import Decimal, getcontext

getcontext().prec = 150
random.seed(1)


def bits(x):
    return format(struct.unpack(">Q", struct.pack(">d", float(x)))[0], "016x")


def tanh(x):
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


points = [2.0**e for e in range(-60, 7)]
points += [random.uniform(0, 1) for _ in range(150)]
points += [random.uniform(0, 40) for _ in range(150)]
points += [10 ** random.uniform(-12, 2.8) for _ in range(100)]
points += [18.7, 19.0, 19.1, 22.0, 36.0, 37.0, 40.0, 80.0, 700.0, 708.0]

with open("f64.csv", "w") as f:
    for p in points:
        for x in (Decimal(p), Decimal(-p)):
            f.write(f"{bits(x)},{bits(tanh(x))},{bits(1 / (1 + (-x).exp()))}\n")
