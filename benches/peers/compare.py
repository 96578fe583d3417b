#!/usr/bin/env python3
"""Two files of rows, measured in turn: for each row the median of the pairwise ratios new / old, the middle half of them, the ratio
of the shortest times, and the geometric mean of all rows. Rows above the limit are flagged, with a question mark where the
middle half reaches down to 1. usage: compare.py old.jsonl new.jsonl [limit, default 1.05]"""
import json, math, sys
from statistics import median, quantiles


def read(path):
    """{(threads, peer, cell, workload, mode): its rows in the order in which they were measured}."""
    rows = {}
    for row in map(json.loads, open(path)):
        kind = (row["threads"], row["peer"], row["cell"], row["workload"], row["mode"])
        rows.setdefault(kind, []).append(row)
    return rows


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


old, new = read(sys.argv[1]), read(sys.argv[2])
limit = float(sys.argv[3]) if len(sys.argv) > 3 else 1.05
print("| threads | row | old µs | new µs | new / old | middle half | shortest | |\n|---|---|---|---|---|---|---|---|")
found = {}
for kind in {**old, **new}:
    pairs = [(a, b) for a, b in zip(old.get(kind, []), new.get(kind, [])) if a.get("median_us") and b.get("median_us")]
    threads, peer, cell, workload, mode = kind
    name = f"{peer.removeprefix('rnn-cell').strip('/-')} {cell} {workload} {mode}".strip()
    if not pairs:
        print(f"| {threads} | {name} | | | | | | only {'old' if kind in old else 'new'}, or failed |")
        continue
    ratios = [b["median_us"] / a["median_us"] for a, b in pairs]
    shortest = min(b["min_us"] for _, b in pairs) / min(a["min_us"] for a, _ in pairs)
    found[kind] = median(ratios)
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    times = (number(median(row["median_us"] for row in side)) for side in zip(*pairs))
    flag = "" if found[kind] <= limit else "**slower**" if low > 1 else "slower?"
    print(f"| {threads} | {name} | {' | '.join(times)} | {found[kind]:.3f} | {low:.3f} to {high:.3f} | {shortest:.3f} | {flag} |")
print()
groups = sorted({(kind[0], kind[4]) for kind in found})
for threads, mode in groups:
    ratios = [ratio for kind, ratio in found.items() if (kind[0], kind[4]) == (threads, mode)]
    print(f"{mode}, {threads} thread{'s' if threads > 1 else ''}: geometric mean {geometric_mean(ratios):.3f} of {len(ratios)} rows")
if found:
    slower = [kind for kind, ratio in found.items() if ratio > limit]
    print(f"all: geometric mean {geometric_mean(list(found.values())):.3f} of {len(found)} rows, {len(slower)} above {limit}")
