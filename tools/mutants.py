#!/usr/bin/env python3
"""Mutation testing with one build for all mutants. In a copy of the tree each mutant waits for a switch, which the
environment variable MUTANT sets. Each test is traced once, so that a mutant meets only the tests that reach it, the
fastest first.
usage: mutants.py prepare DIR [--sample 300] [--seed 1]   copies to DIR, mutates, builds, traces; again after a change
       mutants.py run DIR [--shard K/N] [PART OF A NAME]  runs what has no result yet or new tests, or what has this name
       mutants.py prove DIR [PART OF A NAME]              runs the test of each entry of tests/memory_safety.txt
       mutants.py report DIR                              counts, and the mutants that no test noticed
`prepare` draws the sample from what `cargo mutants --list` finds in src outside src/kernel (install cargo-mutants), and
takes all entries of tools/mutants/kernel.txt and tests/memory_safety.txt."""
import argparse, heapq, json, os, random, re, resource, signal, subprocess, sys, tempfile, threading, time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "mutants"))
from candidates import ROOT, drawn, listed, read
from places import Edit, apply, guilty

PROGRAMS = ["lib", "training", "fused", "cells", "sequences", "seq2seq", "numbers", "weights", "names", "readers", "onnx"]
PROGRAMS += ["memory", "golden", "guard_pages", "examples", "large"]
ALIVE = ("survived", "not reached")
# Faster to build. The dependencies stay as they are, so that a copy of the tree's own target folder saves building them.
PROFILE = """
[profile.test]
opt-level = 1
debug = false
[profile.test.package."*"]
opt-level = 2
debug = "line-tables-only"
"""


def write_if_changed(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path) or read(path) != text:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


class Work:
    """What is in DIR."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.tree = self.path("tree")
        os.makedirs(self.tree, exist_ok=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def load(self, name, empty):
        return json.loads(read(self.path(name))) if os.path.exists(self.path(name)) else empty

    def save(self, name, value):
        write_if_changed(self.path(name), json.dumps(value, indent=0, ensure_ascii=False))

    def results(self):
        lines = read(self.path("results.txt")).splitlines() if os.path.exists(self.path("results.txt")) else []
        return {line.split("\t")[0]: line.split("\t")[1:] for line in lines}

    def cargo(self, *arguments):
        environment = {**os.environ, "CARGO_TARGET_DIR": self.path("target")}
        command = ["cargo", *arguments, "--all-features", "--message-format=json"]
        done = subprocess.run(command, cwd=self.tree, env=environment, stdout=subprocess.PIPE, text=True)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def mutate(work, mutants):
    """Writes the tree with these mutants, {number: mutant}. Returns where each is."""
    by_file, places, switch = defaultdict(list), {}, read(os.path.join(ROOT, "tools/mutants/switch.rs")).split("\n\n", 1)[1]
    for number, mutant in mutants.items():
        by_file[mutant["file"]].append(Edit(number, mutant["start"], mutant["end"], mutant["mutated"], mutant["form"]))
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for file in files.stdout.splitlines():
        path, to = os.path.join(ROOT, file), os.path.join(work.tree, file)
        if not os.path.exists(path):
            continue
        if file.endswith(".rs"):
            source, places[file] = apply(read(path), by_file.get(file, []))
            if file == "src/lib.rs":
                source = source.replace("#![deny(", "#![allow(") + "\n" + switch.replace("COUNT", str(max(mutants) + 1))
            write_if_changed(to, source)
        elif file == "Cargo.toml":
            write_if_changed(to, read(path).split("\n[profile.test]", 1)[0] + PROFILE)
        elif not os.path.exists(to) or os.path.getmtime(to) < os.path.getmtime(path):
            os.makedirs(os.path.dirname(to), exist_ok=True)
            subprocess.run(["cp", path, to], check=True)
    return places


def prepare(work, sample, seed):
    mutants = [*listed("tests/memory_safety.txt", "safety"), *listed("tools/mutants/kernel.txt", "kernel"), *drawn(sample, seed)]
    mutants = dict(enumerate(mutants))
    not_viable = work.load("not_viable.json", [])
    while True:
        viable = {number: mutant for number, mutant in mutants.items() if mutant["name"] not in not_viable}
        places = mutate(work, viable)
        placed = set().union(*places.values())
        code, messages = work.cargo("check", "--lib")
        errors = [message["message"] for message in messages if message["reason"] == "compiler-message"]
        errors = [error for error in errors if error["level"] == "error" and error["spans"]]
        bad = guilty(errors, places) | {number for number in viable if number not in placed}
        if not bad:
            assert code == 0, "\n".join(error["rendered"] for error in errors)
            break
        not_viable += [mutants[number]["name"] for number in bad]
        work.save("not_viable.json", not_viable)
        print(f"{len(bad)} do not compile", flush=True)
    work.save("mutants.json", mutants)
    programs = work.load("programs.json", {})
    for name in PROGRAMS:
        code, messages = work.cargo("test", "--no-run", *(["-p", "rnn-cell", "--lib"] if name == "lib" else ["--test", name]))
        made = [message["executable"] for message in messages if message["reason"] == "compiler-artifact" and message["executable"]]
        assert code == 0 and len(made) == 1, f"{name} does not compile"
        programs[name] = made[0]
        work.save("programs.json", programs)
        trace(work, name, programs[name])


def execute(work, program, tests, timeout, **environment):
    """The exit code and the seconds of some tests; the code is None if they were stopped."""
    def limits():
        os.nice(10)
        resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    command, start = [program, "--exact", "--test-threads=2", *tests], time.monotonic()
    package = work.tree if os.path.basename(program).startswith("rnn_cell-") else os.path.join(work.tree, "tests")
    process = subprocess.Popen(command, cwd=package, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=limits,
                               env={**os.environ, "CARGO_MANIFEST_DIR": package, **environment}, start_new_session=True)
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        code = None
    return code, time.monotonic() - start


def trace(work, program, path):
    """For each test its seconds and the mutants it reaches: {program: {"built", "tests": {name: [seconds, mutants]}}}."""
    traces, built = work.load("traces.json", {}), os.path.getmtime(path)
    if traces.get(program, {}).get("built") == built:
        return

    def names(*which):
        said = subprocess.run([path, "--list", *which], stdout=subprocess.PIPE, text=True).stdout
        return re.findall(r"^(.*): test$", said, re.M)

    def one(test):
        with tempfile.NamedTemporaryFile(dir=work.folder) as file:
            code, seconds = execute(work, path, [test], 1800, MUTANT="trace", MUTANT_TRACE=file.name)
            numbers = file.read()
        reached = sorted({int.from_bytes(numbers[at:at + 4], "little") for at in range(0, len(numbers), 4)})
        if code != 0:
            print(f"{program} {test} fails without a mutant", flush=True)
        return test, code, [round(seconds, 3), reached]

    ignored = set(names("--ignored"))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(one, [test for test in names() if test not in ignored]))
    traces[program] = {"built": built, "tests": {test: found for test, code, found in done if code == 0}}
    work.save("traces.json", traces)
    print(f"{program}: {len(done)} tests, {sum(found[0] for _, _, found in done):.0f} s", flush=True)


class Trial:
    """A mutant and the tests that reach it, the fastest first, in batches that last twice as long each time."""

    def __init__(self, number, tests):
        self.number, self.tests, self.at, self.budget, self.seconds = number, sorted(tests), 0, 0.5, 0.0

    def __lt__(self, other):
        return (self.budget, int(self.number)) < (other.budget, int(other.number))

    def next_batch(self, work, programs):
        """How the mutant ends and by what; `None` if tests are left."""
        batch, seconds = defaultdict(list), 0.0
        while self.at < len(self.tests) and (not batch or seconds + self.tests[self.at][0] <= self.budget):
            batch[self.tests[self.at][1]].append(self.tests[self.at][2])
            seconds += self.tests[self.at][0]
            self.at += 1
        self.budget *= 2
        for program, names in batch.items():
            code, _ = execute(work, programs[program], names, 20 + 3 * seconds, MUTANT=str(self.number))
            if code != 0:
                return "timed out" if code is None else "caught", f"{program} {' '.join(names[:3])}"
        if self.at == len(self.tests):
            return "survived" if self.tests else "not reached", ""
        return None


def run(work, shard, wanted):
    mutants, programs, results = work.load("mutants.json", {}), work.load("programs.json", {}), work.results()
    reaching, lock, not_viable = defaultdict(list), threading.Lock(), set(work.load("not_viable.json", []))
    traces = work.load("traces.json", {})
    for program, traced in traces.items():
        for test, (seconds, reached) in traced["tests"].items():
            for number in reached:
                reaching[number].append((seconds, program, test))
    tests = ", ".join(f"{program} {int(traced['built'])}" for program, traced in traces.items())
    part, parts = map(int, shard.split("/"))

    def is_wanted(number, mutant):
        # Tests may have come since a mutant survived. Those with a test of their own are for `prove`.
        result, _, by = results.get(mutant["name"], ("none", "", ""))
        new = result == "none" or result in ALIVE and by != tests
        viable = mutant["name"] not in not_viable and not mutant.get("test")
        return viable and int(number) % parts == part and (wanted in mutant["name"] if wanted else new)

    todo = [Trial(number, reaching[int(number)]) for number, mutant in mutants.items() if is_wanted(number, mutant)]
    print(f"{len(todo)} to run", flush=True)
    heapq.heapify(todo)

    def worker():
        # Whatever has run the least comes next, so that those that die fast are not behind those that live.
        while True:
            with lock:
                if not todo:
                    return
                trial = heapq.heappop(todo)
            start = time.monotonic()
            end = trial.next_batch(work, programs)
            trial.seconds += time.monotonic() - start
            with lock:
                if not end:
                    heapq.heappush(todo, trial)
                    continue
                result, by = end
                by = tests if result in ALIVE else by
                line = "\t".join([mutants[trial.number]["name"], result, f"{trial.seconds:.1f}", by])
                with open(work.path("results.txt"), "a", encoding="utf-8") as file:
                    print(line, file=file)
                print(line, flush=True)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(worker), pool.submit(worker)]:
            done.result()


def prove(work, wanted):
    mutants, programs, traces = work.load("mutants.json", {}), work.load("programs.json", {}), work.load("traces.json", {})
    failures = 0
    for number, mutant in mutants.items():
        if not mutant.get("test") or wanted and wanted not in mutant["name"]:
            continue
        program, test = mutant["test"].split()
        names = [name for name in traces.get(program, {"tests": {}})["tests"] if name.split("::")[-1] == test]
        without = [execute(work, programs[program], names, 1800, **switch)[0] for switch in ({}, {"MUTANT": number}) if names]
        proven = len(names) == 1 and without[0] == 0 and without[1] != 0
        failures += not proven
        print("dies" if proven else "SURVIVES", mutant["name"], flush=True)
    sys.exit(failures)


def report(work):
    mutants, results, not_viable = work.load("mutants.json", {}), work.results(), set(work.load("not_viable.json", []))
    counts = defaultdict(Counter)
    for mutant in mutants.values():
        if mutant.get("test"):
            continue
        kind = "kernel" if mutant["name"].startswith("kernel ") else "drawn"
        result = "does not compile" if mutant["name"] in not_viable else results.get(mutant["name"], ["no result yet"])[0]
        counts[kind][result] += 1
        if result in ALIVE:
            print(f"{result}: {mutant['name']}")
    for kind, count in counts.items():
        print(f"{kind}: {', '.join(f'{number} {result}' for result, number in count.most_common())}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["prepare", "run", "prove", "report"])
    parser.add_argument("folder")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", default="0/1")
    arguments = parser.parse_args()
    work = Work(arguments.folder)
    if arguments.command == "prepare":
        prepare(work, arguments.sample, arguments.seed)
    elif arguments.command == "run":
        run(work, arguments.shard, arguments.name)
    elif arguments.command == "prove":
        prove(work, arguments.name)
    else:
        report(work)


if __name__ == "__main__":
    main()
