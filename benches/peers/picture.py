#!/usr/bin/env python3
"""docs/peers.svg from the measured rows: at one thread, how many times as long as this crate the fastest peer takes.
usage: picture.py [results.jsonl | RESULTS.md] [picture.svg]"""
import math, os, re, sys, time
from html import escape
from rows import SHAPES, read, read_table, variant

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = "rnn-cell"
CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "simple RNN"}
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "jax-flax": "JAX", "ndarray-naive": "plain ndarray"}
PINNED = [("torch", "torch"), ("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"), ("JAX", "jax")]
LOCKED = [(OURS, OURS), ("rten", "rten"), ("tract", "tract-onnx"), ("ndarray", "ndarray")]
SLOWER, FASTER, INK, GREY, LINE = "#2f6fbf", "#b35900", "#24292f", "#57606a", "#d0d7de"  # as in the other pictures
WIDTH, LABELS, PANEL, GAP, ROW, TOP = 800, 128, 208, 12, 36, 108


def fastest(rows):
    """{(workload, mode): {cell: (our µs, a peer's µs, the peer)}} at one thread."""
    found = {}
    for mode in ("forward", "train"):
        for workload in SHAPES:
            for cell in CELLS:
                times = {key[4]: row["median_us"] for key, row in rows.items()
                         if key[:4] == (1, cell, workload, mode) and row.get("median_us") and not variant(key[4])}
                ours = times.pop(OURS, None)
                if ours and times:
                    peer = min(times, key=times.get)
                    found.setdefault((workload, mode), {})[cell] = (ours, times[peer], peer)
    return found


def measured_here(path):
    """Date, machine and versions of a run that was just made here."""
    cpu = open("/proc/cpuinfo").read()
    field = lambda name: re.search(rf"^{name}\s*: (.*)$", cpu, re.M)[1]
    flags = field("flags").split()
    isa = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    date = time.strftime("%Y-%m-%d", time.localtime(os.path.getmtime(path)))
    machine = f"{date}, {os.cpu_count()} cores of {field('model name')} (family {field('cpu family')}), {isa}"
    pins = open(os.path.join(HERE, "setup.sh")).read()
    lock = open(os.path.join(HERE, "rust/Cargo.lock")).read()
    versions = [(name, re.search(rf'name = "{crate}"\nversion = "(\S+)"', lock)[1])
                for name, crate in LOCKED]
    versions += [(name, re.search(rf" {package}==(\S+)", pins)[1]) for name, package in PINNED]
    return machine, "with " + ", ".join(f"{name} {version}" for name, version in versions)


def recorded(path):
    """Date, machine and versions as RESULTS.md words them."""
    text = re.sub(r"\s*\n(?!\n)", " ", open(path).read().replace("\n\n", "\0")).replace("\0", "\n\n")
    machine = re.search(r"\d{4}-\d\d-\d\d, .*?(?=, (?:one run|three runs) |$)", text, re.M)[0]
    return machine, re.search(r"with rnn-cell .*?(?=\. Medians|$)", text, re.M)[0]


def amount(micros):
    value, unit = (micros, "µs") if micros < 1000 else (micros / 1000, "ms")
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def wrapped(text, width):
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def draw(found, caption):
    ratios = [peer / ours for cells in found.values() for ours, peer, _ in cells.values()]
    low, high = math.log2(min(0.8, *ratios)), math.log2(max(4, *ratios))
    room = PANEL - 44  # the number stands behind its bar
    at = lambda ratio: (math.log2(ratio) - low) / (high - low) * room
    left = lambda panel: LABELS + panel * (PANEL + GAP)
    modes = [mode for _, mode in found]
    bottom = TOP + ROW * len(found) + (14 if "train" in modes and "forward" in modes else 0)
    notes = [line for text in caption for line in wrapped(text.replace("`", ""), 122)]
    height = bottom + 30 + 16 * len(notes)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">',
           '<title>How many times as long as rnn-cell the fastest peer takes</title>',
           f'<rect x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="12" fill="#ffffff" stroke="{LINE}"/>',
           f'<text x="16" y="29" font-size="15" font-weight="bold" fill="{INK}">'
           "The fastest peer's time ÷ rnn-cell's</text>",
           f'<text x="16" y="48" fill="{GREY}">'
           "One thread, f32, a whole sequence of shape (batch, steps, input, hidden); medians, logarithmic axes.</text>",
           f'<text x="16" y="64" fill="{GREY}">'
           "Under each bar: rnn-cell's time; the fastest peer and its time.</text>"]
    ticks = [2.0 ** n for n in range(math.ceil(low), math.floor(high) + 1)]
    for panel, title in enumerate(CELLS.values()):
        x = left(panel)
        svg.append(f'<text x="{x + at(1):.1f}" y="88" font-size="13" font-weight="bold" fill="{INK}">{title}</text>')
        svg += [f'<text x="{x + at(tick):.1f}" y="{TOP - 4}" font-size="10" text-anchor="middle" '
                f'fill="{GREY}">{tick:g}</text>' for tick in ticks]
    y, before = TOP, None
    for (workload, mode), cells in found.items():
        if before == "forward" and mode == "train":
            y += 14
            svg.append(f'<path d="M16 {y - 8} H{WIDTH - 16}" stroke="{LINE}"/>')
        before = mode
        svg.append(f'<text x="16" y="{y + 12}" fill="{INK}">{workload}{", training" if mode == "train" else ""}</text>')
        svg.append(f'<text x="16" y="{y + 26}" font-size="10" fill="{GREY}">{SHAPES[workload]}</text>')
        for panel, cell in enumerate(CELLS):
            if cell not in cells:
                continue
            ours, peer, name = cells[cell]
            x, one, end = left(panel), left(panel) + at(1), left(panel) + at(peer / ours)
            grid = "".join(f"M{x + at(tick):.1f} {y}v15" for tick in ticks if tick != 1)
            svg.append(f'<path d="{grid}" stroke="{LINE}"/><path d="M{one:.1f} {y}v15" stroke="{GREY}"/>')
            color = SLOWER if peer >= ours else FASTER
            start, width = min(one, end), abs(end - one)
            svg.append(f'<rect x="{start:.1f}" y="{y + 2}" width="{width:.1f}" height="11" fill="{color}"/>')
            svg.append(f'<text x="{max(one, end) + 4:.1f}" y="{y + 12}" fill="{color}">{peer / ours:.2f}</text>')
            svg.append(f'<text x="{one:.1f}" y="{y + 26}" font-size="10" fill="{GREY}">{amount(ours)}, '
                       f'{escape(NAMES.get(name, name))} {amount(peer)}</text>')
        y += ROW
    for number, line in enumerate(notes):
        svg.append(f'<text x="16" y="{bottom + 24 + 16 * number}" font-size="11" fill="{GREY}">{escape(line)}</text>')
    return "\n".join(svg + ["</svg>", ""])


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ.get("PEERS_ROOT", HERE), "results.jsonl")
    target = sys.argv[2] if len(sys.argv) > 2 else os.path.join(HERE, "../../docs/peers.svg")
    table = source.endswith(".md")
    found = fastest(read_table(source) if table else read(source))
    if not found:
        sys.exit(f"{source} has no row of {OURS} and a peer at one thread")
    with open(target, "w") as file:
        file.write(draw(found, recorded(source) if table else measured_here(source)))


main()
