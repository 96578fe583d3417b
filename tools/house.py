#!/usr/bin/env python3
"""The measures of the house: import cycles, long lists of arguments, `unsafe`, long files and functions, and how far a cell's name
reaches. Comments, strings and what is compiled for tests only are left out unless a line says otherwise.
usage: house.py [root of the repository]"""
import os, re, subprocess, sys
from bisect import bisect_right
from collections import Counter, defaultdict

ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CELLS = {"BasicRnn": r"\bBasicRnn|\bbasic_rnn", "Lstm": r"\bLstm|(?<!layer_norm_)\blstm|(?<!norm)_lstm", "Gru": r"\bGru|gru",
         "LayerNormLstm": r"\bLayerNormLstm|layer_norm_lstm", "Ugrnn": r"\bUgrnn|\bugrnn"}
TOKEN = re.compile(r"""(?P<line>//[^\n]*)|(?P<block>/\*)|(?P<raw>\b[bc]?r(?P<hash>\#*)".*?"(?P=hash))
    |(?P<string>\b[bc]?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*")|(?P<char>b?'(?:\\[^\n]+?|[^'\\\n])')""", re.X | re.S)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def split(source):
    """Code and comments of a file, each with the rest blanked, so that positions and lines stay."""
    code, comments, at = [], [], 0
    while match := TOKEN.search(source, at):
        start, end = match.span()
        if match["block"]:
            depth, end = 1, start + 2
            while depth and (mark := re.compile(r"/\*|\*/").search(source, end)):
                depth, end = depth + (1 if mark[0] == "/*" else -1), mark.end()
        code += [source[at:start], blank(source[start:end])]
        is_comment = match["line"] is not None or match["block"] is not None
        comments += [blank(source[at:start]), source[start:end] if is_comment else blank(source[start:end])]
        at = end
    return "".join(code) + source[at:], "".join(comments)


def closing(code, start, pair="{}"):
    """The position of what closes the bracket at `start`."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] == pair[0]) - (code[at] == pair[1])
        if depth == 0:
            return at
    return len(code)


class File:
    def __init__(self, path):
        self.path = path
        self.source = open(os.path.join(ROOT, path), encoding="utf-8").read()
        self.code, self.comments = split(self.source)
        self.lines = self.source.count("\n")
        parts = path[len("src/"):-len(".rs")].split("/")
        self.module = tuple(parts[:-1] if parts[-1] in ("mod", "lib") else parts)
        # Modules for tests only: the bodies go, and the files of those without one are left out.
        self.test_modules = set()
        for match in list(re.finditer(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*([;{])", self.code)):
            if match[2] == ";":
                self.test_modules.add(self.module + (match[1],))
            end = closing(self.code, match.end() - 1) + 1 if match[2] == "{" else match.end()
            self.code = self.code[:match.start()] + blank(self.code[match.start():end]) + self.code[end:]
        self.starts = [0] + [match.end() for match in re.finditer("\n", self.code)]
        self.inline = [(match.end() - 1, closing(self.code, match.end() - 1), match[1])
                       for match in re.finditer(r"\bmod\s+(\w+)\s*\{", self.code)]

    def line(self, at):
        return bisect_right(self.starts, at)

    def module_at(self, at):
        return self.module + tuple(name for start, end, name in self.inline if start < at < end)


def read():
    paths = sorted(os.path.relpath(os.path.join(folder, name), ROOT)
                   for folder, _, names in os.walk(os.path.join(ROOT, "src")) for name in names if name.endswith(".rs"))
    files = [File(path) for path in paths]
    tests = set().union(*(file.test_modules for file in files))
    is_test = lambda file: any(file.module[:n] in tests for n in range(1, len(file.module) + 1))
    return [file for file in files if not is_test(file)], [file for file in files if is_test(file)]


# ---- imports

def leaves(tree):
    """The (path, name) of everything that a `use` tree brings in; the name of a glob is `*`."""
    tree = tree.strip()
    if "{" in tree:
        before, inside = tree[:tree.index("{")], tree[tree.index("{") + 1:tree.rindex("}")]
        depth, part, parts = 0, "", []
        for char in inside + ",":
            if char == "," and depth == 0:
                parts.append(part)
                part = ""
            else:
                depth += (char == "{") - (char == "}")
                part += char
        for part in parts:
            if part.strip():
                yield from leaves(before + part.strip())
        return
    path, _, alias = re.sub(r"\s+", " ", tree).partition(" as ")
    path = path.replace(" ", "").removeprefix("::").split("::")
    if path[-1] == "self":
        path.pop()
    yield path, alias.strip() or path[-1]


class Crate:
    """Modules, the names that each brings in, and the file that defines what a path leads to."""
    def __init__(self, files):
        self.files, self.home, self.names, self.globs, self.uses = files, {}, defaultdict(dict), defaultdict(list), []
        for file in files:
            self.home[file.module] = file
            for start, end, name in file.inline:
                self.home[file.module_at(start) + (name,)] = file
        for file in files:
            for match in re.finditer(r"(?P<pub>\bpub(?:\s*\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);", file.code):
                module = file.module_at(match.start())
                for path, name in leaves(match["tree"]):
                    self.uses.append((file, module, match.span(), path, name, match["pub"] is not None))
                    if name == "*":
                        self.globs[module].append(path[:-1])
                    else:
                        self.names[module][name] = path

    def walk(self, module, path, seen=()):
        """What `path`, written in `module`, leads to: ("module", its path), ("item", the module that defines it) or None."""
        path = list(path)
        if not path:
            return "module", module
        if path[0] in ("crate", "$crate"):
            module, path = (), path[1:]
        else:
            while path and path[0] in ("self", "super"):
                module = module[:-1] if path[0] == "super" else module
                path = path[1:]
        while path:
            name, path = path[0], path[1:]
            if module + (name,) in self.home:
                module += (name,)
                continue
            here = (module, name)
            if here in seen:
                return None
            if name in self.names[module] and self.names[module][name] != [name]:
                found = self.walk(module, self.names[module][name], seen + (here,))
                if found and found[0] == "module":
                    module = found[1]
                    continue
                return found
            if self.defines(module, name):
                return "item", module
            for glob in self.globs[module]:
                found = self.walk(module, glob + [name], seen + (here,))
                if found:
                    return found
            return None
        return "module", module

    def defines(self, module, name):
        pattern = rf"\b(?:fn|struct|enum|trait|type|const|static|union)\s+{re.escape(name)}\b|\bmacro_rules!\s*{re.escape(name)}\b"
        return module in self.home and re.search(pattern, self.home[module].code) is not None

    def imports(self):
        """{file: the files whose items it names}. Naming a child to export it again is not a use of it."""
        edges = defaultdict(set)

        def add(file, module, path):
            found = self.walk(module, path)
            if found and found[0] == "item" and self.home[found[1]] is not file:
                edges[file.path].add(self.home[found[1]].path)

        for file in self.files:
            body = file.code
            for other, module, (start, end), path, name, exported in self.uses:
                if other is file:
                    body = body[:start] + blank(body[start:end]) + body[end:]
            for other, module, _, path, name, exported in self.uses:
                if other is not file:
                    continue
                if exported and not re.search(rf"\b{re.escape(name)}\b", body):
                    continue
                if name == "*":
                    target = self.walk(module, path[:-1])
                    if target and target[0] == "module":
                        for word in set(re.findall(r"\b[A-Za-z_]\w*\b", body)):
                            if self.defines(target[1], word) or word in self.names[target[1]]:
                                add(file, target[1], [word])
                else:
                    add(file, module, path)
            # Paths in the code itself: of the crate, or of a module that was brought in.
            for match in re.finditer(r"(?<![\w:$])\$?[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+", body):
                path, module = re.sub(r"\s", "", match[0]).split("::"), file.module_at(match.start())
                first = path[0]
                if first in ("crate", "$crate", "self", "super"):
                    pass
                elif module + (first,) not in self.home and first not in self.names[module]:
                    continue
                # The longest part of the path that is not a method or a variant of an item.
                for length in range(len(path), 0, -1):
                    if self.walk(module, path[:length]):
                        add(file, module, path[:length])
                        break
        return edges


def components(nodes, edges):
    """Strongly connected components of more than one file (Tarjan)."""
    index, low, stack, on, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on.add(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
                on.discard(component[-1])
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10000)
    for node in nodes:
        if node not in index:
            visit(node)
    return sorted(found, key=lambda component: (-len(component), component))


# ---- functions

def functions(file):
    """(name, line, arguments with `self`, lines) of every `fn`, those of traits and macros too."""
    code = file.code
    for match in re.finditer(r"\bfn\s+(\$?\w+)\s*", code):
        at = match.end()
        if code[at:at + 1] == "<":
            depth = 0
            while True:
                depth += (code[at] == "<") - (code[at] == ">" and code[at - 1] not in "-=")
                at += 1
                if depth == 0:
                    break
            at += len(code[at:]) - len(code[at:].lstrip())
        if code[at:at + 1] != "(":
            continue
        end = closing(code, at, "()")
        arguments, depth, part = 0, 0, ""
        for k in range(at + 1, end + 1):
            char = code[k]
            if k == end or (char == "," and depth == 0):
                arguments += bool(part.strip())
                part = ""
                continue
            depth += (char in "([{<") - (char in ")]}" or (char == ">" and code[k - 1] not in "-="))
            part += char
        # The body, if there is one: the first brace before a semicolon outside of brackets.
        last, depth = end, 0
        for k in range(end + 1, len(code)):
            char = code[k]
            if char == "{" and depth == 0:
                last = closing(code, k)
                break
            if char == ";" and depth == 0:
                break
            depth += (char in "([") - (char in ")]")
        yield match[1], file.line(match.start()), arguments, file.line(last) - file.line(match.start()) + 1


def words(word, text):
    return len(re.findall(rf"\b{word}\b", text))


def main():
    files, tests = read()
    print(f"src: {len(files)} files of {sum(file.lines for file in files)} lines, "
          f"and {len(tests)} for tests only of {sum(file.lines for file in tests)} lines")

    edges = Crate(files).imports()
    cycles = components([file.path for file in files], edges)
    print(f"\nimport cycles: {len(cycles)}, of {sum(map(len, cycles))} files")
    for component in cycles:
        print(f"  {len(component)} files: {' '.join(component)}")
        inside = set(component)
        for path in component:
            print(f"    {path} -> {' '.join(sorted(edges[path] & inside))}")

    found = [(arguments, lines, f"{file.path}:{line} {name}")
             for file in files for name, line, arguments, lines in functions(file)]
    many = sorted((entry for entry in found if entry[0] >= 7), key=lambda entry: (-entry[0], entry[2]))
    print(f"\nfunctions of seven or more arguments: {len(many)} of {len(found)}, worst {many[0][0] if many else '-'}")
    for arguments, _, where in many:
        print(f"  {arguments} {where}")

    print("\nlongest functions (lines):")
    for _, lines, where in sorted(found, key=lambda entry: -entry[1])[:5]:
        print(f"  {lines} {where}")
    print("longest files (lines):")
    for file in sorted(files, key=lambda file: -file.lines)[:5]:
        print(f"  {file.lines} {file.path}")
    names = Counter(entry[2].split()[-1].split("::")[-1] for entry in found)
    print("functions of one name: " + ", ".join(f"{count} {name}" for name, count in names.most_common(8)))

    print("\nunsafe, the word (code, comments, of which code outside of src/kernel):")
    everything = files + tests
    print(f"  {sum(words('unsafe', file.code) for file in everything)}, "
          f"{sum(words('unsafe', file.comments) for file in everything)}, "
          f"{sum(words('unsafe', file.code) for file in everything if not file.path.startswith('src/kernel'))}")
    for file in sorted(everything, key=lambda file: -words("unsafe", file.code)):
        if words("unsafe", file.code):
            print(f"  {words('unsafe', file.code)}, {words('unsafe', file.comments)} {file.path}")
    asserts = {file.path: len(re.findall(r"\bdebug_assert(?:_eq|_ne)?!", file.code)) for file in everything}
    print(f"debug_asserts: {sum(asserts.values())}"
          + "".join(f"\n  {count} {path}" for path, count in asserts.items() if count))

    print("\ncells: files and lines of src that name it, comments too; lines of src files named after it; Rust files of the repository")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "*.rs"], capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    texts = {}
    for path in listed:
        if os.path.isfile(os.path.join(ROOT, path)):
            texts[path] = open(os.path.join(ROOT, path), encoding="utf-8").read()
    snake = lambda name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    for cell, pattern in CELLS.items():
        naming = [file for file in everything if re.search(pattern, file.source)]
        lines = sum(bool(re.search(pattern, line)) for file in naming for line in file.source.split("\n"))
        own = [file for file in everything if re.search(rf"(?<!norm_){snake(cell)}", file.path)]
        print(f"  {cell}: {len(naming)} files, {lines} lines; {sum(file.lines for file in own)} lines in {len(own)} files; "
              f"{sum(bool(re.search(pattern, text)) for text in texts.values())} Rust files of the repository")
        print("    " + " ".join(f"{file.path}:{file.lines}" for file in own))


main()
