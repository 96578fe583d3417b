"""Mutants: {"name", "file", "start", "end", "mutated", "form"}, and a "test" for entries of tests/memory_safety.txt."""
import json, os, random, re, subprocess
from places import Tokens

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def listed(path, kind):
    """The entries of a list."""
    for entry in read(os.path.join(ROOT, path)).split("\n\n")[1:]:
        file, *lines = entry.strip().splitlines()
        parts = {line[0]: line[2:] for line in lines}
        before, mark, rest = parts["-"].partition("«")
        part, _, after = rest.partition("»") if mark else (before, "", "")
        before = before if mark else ""
        pattern = "(%s)" * 3 % tuple(r"\s*".join(map(re.escape, text.split())) for text in (before, part, after))
        pattern = pattern.replace(")(", r")\s*(")
        found = list(re.finditer(pattern, read(os.path.join(ROOT, file))))
        assert len(found) == 1, f"{path}: {len(found)} times in {file}: {parts['-']}"
        start, end = found[0].span(2)
        name = f"{kind} {file}: {part} -> {parts.get('+', 'nothing')}" + (f" ({parts['>']})" if ">" in parts else "")
        deleted = "deleted" if "+" not in parts else "expression"
        yield {"name": name, "file": file, "start": start, "end": end, "mutated": parts.get("+", ""), "form": deleted,
               "test": parts.get(">")}


def drawn(count, seed):
    """A sample of what cargo-mutants finds outside the kernels, as far as it can be put behind a switch."""
    command = ["cargo", "mutants", "--list", "--json", "--all-features", "--file", "src/**", "--exclude", "src/kernel/**"]
    candidates = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    switchable = [mutant for mutant in map(of_cargo_mutants, candidates) if mutant]
    print(f"{len(candidates)} candidates, {len(switchable)} of them switchable")
    return random.Random(seed).sample(sorted(switchable, key=lambda mutant: mutant["name"]), min(count, len(switchable)))


SOURCES = {}


def of_cargo_mutants(candidate):
    file, genre = candidate["file"], candidate["genre"]
    if file not in SOURCES:
        source = read(os.path.join(ROOT, file))
        SOURCES[file] = (source, [0] + [match.end() for match in re.finditer("\n", source)], Tokens(source))
    source, lines, tokens = SOURCES[file]
    start, end = (lines[candidate["span"][side]["line"] - 1] + candidate["span"][side]["column"] - 1 for side in ("start", "end"))
    mutated, form = candidate["replacement"], "expression"
    if genre == "FnValue":
        form = "body"
    elif genre in ("BinaryOperator", "UnaryOperator"):
        place = tokens.operation(start)
        if not place:
            return None
        first, last, at = place
        mutated = source[tokens.start[first]:tokens.start[at]] + mutated + source[tokens.end[at]:tokens.end[last]]
        start, end = tokens.start[first], tokens.end[last]
    elif genre == "MatchArm":
        arrow = re.compile(r"\s*=>").search(source, start).start()
        guard = re.compile(r"\sif\s").search(source, start, arrow)
        start, end, form = (guard.end(), arrow, "guarded arm") if guard else (arrow, arrow, "arm")
    elif genre != "MatchArmGuard":
        return None
    return {"name": candidate["name"], "file": file, "start": start, "end": end, "mutated": mutated, "form": form}
