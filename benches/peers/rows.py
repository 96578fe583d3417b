"""The workloads, and the measured rows as table.py and picture.py read them."""
import json, re
from statistics import median

# name -> (batch, steps, input, hidden)
SHAPES = {"stream": (1, 1, 64, 64), "hello": (3, 5, 4, 2), "tiny": (1, 100, 32, 64), "small": (1, 100, 64, 128),
          "speech": (1, 100, 128, 256), "lstm512_b1": (1, 100, 512, 512), "ragged": (32, 100, 128, 256),
          "batch32": (32, 100, 128, 256), "long": (1, 5000, 64, 128), "batch64": (64, 100, 512, 512),
          "wide": (128, 25, 1024, 1024)}


def variant(peer):
    """Whether this is a build of another peer rather than one of its own."""
    return "/" in peer or peer in ("burn-ndarray", "torch-nomkldnn")


def low_precision(peer):
    """The format of a peer whose weights have fewer bits, else None."""
    format = peer.rpartition("/")[2]
    return format if format in ("int8", "bf16") else None


def read(path):
    """Every line of a results.jsonl by (threads, cell, workload, mode, peer); of a kind measured in several runs the median."""
    kinds = {}
    with open(path) as file:
        for row in map(json.loads, file):
            kinds.setdefault((row["threads"], row["cell"], row["workload"], row["mode"], row["peer"]), []).append(row)
    return {kind: merged(rows) for kind, rows in kinds.items()}


def merged(rows):
    """The last of some lines of a kind, with the medians of all that were measured; of the smallest the smallest."""
    measured = [row for row in rows if row.get("median_us") is not None]
    values = {name: choose([row[name] for row in measured]) for name, choose in
              (("median_us", median), ("min_us", min), ("value", median)) if measured and name in measured[-1]}
    return {**(measured or rows)[-1], **values}


def read_table(path):
    """The same of a table that table.py printed, such as RESULTS.md; only medians."""
    rows, threads, head = {}, None, None
    for line in open(path):
        if line.startswith("#"):
            title = re.match(r"### (\d+) threads?[:,]", line)
            threads, head = title and int(title[1]), None
        elif threads and line.startswith("|"):
            cells = [cell.strip(" *\n") for cell in line.strip().strip("|").split("|")]
            if head is None:
                head = cells
            for peer, cell in zip(head[2:], cells[2:]):
                if peer == "fastest":
                    break
                if re.fullmatch(r"[\d.]+", cell):
                    workload, _, train = cells[0].partition(" ")
                    rows[threads, cells[1], workload, train or "forward", peer] = {"median_us": float(cell)}
    return rows
