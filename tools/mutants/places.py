"""Where a mutant's expression begins and ends, and sources in which every mutant waits for a switch."""
import bisect, re

TOKEN = re.compile(r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)|(?P<literal>[bc]?r(?P<hash>\#*)".*?"(?P=hash)|[bc]?"(?:\\.|[^"\\])*"
    |b?'(?:\\[^\n]+?|[^'\\\n])'|\d[\d_]*(?:\.\d[\d_]*)?(?:e[+-]?\d+)?\w*)|(?P<life>'\w+)|(?P<word>\w+)
    |(?P<mark><<=|>>=|\.\.=|\.\.\.|::|->|=>|==|!=|<=|>=|&&|\|\||<<|>>|\+=|-=|\*=|/=|%=|\^=|&=|\|=|\.\.|.)""", re.X | re.S)
LEVELS = ["= += -= *= /= %= &= |= ^= <<= >>=", ".. ..=", "||", "&&", "== != < > <= >=", "|", "^", "&", "<< >>", "+ -", "* / %", "as"]
LEVEL = {mark: level for level, marks in enumerate(LEVELS) for mark in marks.split()}
STOP = {",", ";", "=>", "->", ":", "#", "closure"}
KEYWORDS = {"if", "while", "match", "in", "return", "let", "else", "move", "break", "mut", "ref", "unsafe", "loop", "for", "const"}
OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")": "(", "]": "[", "}": "{"}


class Tokens:
    """The tokens of a source, of which each `<…>` is one. A bracket knows its partner."""

    def __init__(self, source):
        self.kind, self.text, self.start, self.end = [], [], [], []
        for match in TOKEN.finditer(source):
            if match.lastgroup != "space" and match["space"] is None:
                self.kind.append("literal" if match["literal"] is not None else "life" if match["life"] else
                                 "word" if match["word"] else "mark")
                self.text.append(match[0]), self.start.append(match.start()), self.end.append(match.end())
        self.find_types(source)
        self.find_closures()
        self.partner, stack = {}, []
        for at, text in enumerate(self.text):
            if self.kind[at] == "mark" and text in OPEN:
                stack.append(at)
            elif self.kind[at] == "mark" and text in CLOSE:
                other = stack.pop()
                self.partner[at], self.partner[other] = other, at

    def ends_operand(self, at):
        """Whether an operand can end at this token, so that a mark after it is a binary operator."""
        if at < 0:
            return False
        kind, text = self.kind[at], self.text[at]
        return kind == "literal" or kind == "word" and text not in KEYWORDS | {"as"} or text in (")", "]", "}", "?", "type")

    def find_types(self, source):
        """Makes one token of everything in `<…>`. rustfmt puts spaces around a comparison."""
        at = 0
        while at < len(self.text):
            if self.text[at] in ("<", "<<") and (not source[self.start[at] - 1].isspace() or not self.ends_operand(at - 1)):
                depth, end = {"<": 1, "<<": 2}[self.text[at]], at
                while depth > 0 and end + 1 < len(self.text):
                    end += 1
                    depth += {"<": 1, "<<": 2, ">": -1, ">>": -2}.get(self.text[end], 0)
                self.end[at] = self.end[end]
                self.kind[at], self.text[at] = "word", "type"
                for each in (self.kind, self.text, self.start, self.end):
                    del each[at + 1:end + 1]
            at += 1

    def find_closures(self):
        at = 0
        while at < len(self.text):
            if self.kind[at] == "mark" and self.text[at] in ("|", "||") and not self.ends_operand(at - 1):
                if self.text[at] == "|":
                    other = at + 1
                    while self.text[other] != "|":
                        other += 1
                    self.text[at] = self.text[other] = "closure"
                    at = other
                else:
                    self.text[at] = "closure"
            at += 1

    def level(self, at):
        """How tightly a binary operator binds; `None` for everything else."""
        if self.kind[at] == "word":
            return LEVEL.get("as") if self.text[at] == "as" else None
        return LEVEL.get(self.text[at]) if self.kind[at] == "mark" and self.ends_operand(at - 1) else None

    def stops(self, at):
        return self.kind[at] == "mark" and self.text[at] in STOP or self.kind[at] == "word" and self.text[at] in KEYWORDS

    def left(self, operator, level):
        """Where the left operand of an operator begins; `None` if it ends in a block."""
        at = operator - 1
        while at >= 0:
            if self.text[at] in CLOSE and self.kind[at] == "mark":
                if self.text[at] == "}":
                    return None if at == operator - 1 or self.text[at + 1] in (".", "?") else at + 1
                at = self.partner[at]
            elif self.text[at] in OPEN and self.kind[at] == "mark" or self.stops(at):
                return at + 1
            elif (binds := self.level(at)) is not None and binds < max(level, 1):
                return at + 1
            at -= 1
        return 0

    def right(self, at, level):
        """Where the operand that begins at `at` ends: its last token; `None` if it begins with a block."""
        first = at
        while at < len(self.text):
            if at == first and self.stops(at):
                return None
            if self.text[at] in OPEN and self.kind[at] == "mark" and self.text[at] != "{":
                at = self.partner[at]
            elif self.kind[at] == "mark" and (self.text[at] in CLOSE or self.text[at] == "{") or self.stops(at):
                return at - 1
            elif at > first and (binds := self.level(at)) is not None and binds <= level:
                return at - 1
            at += 1
        return at - 1

    def operation(self, start):
        """The first and the last token of the operation whose operator begins at this place, and the operator."""
        at = bisect.bisect_left(self.start, start)
        if at == len(self.start) or self.start[at] != start:
            return None
        level = self.level(at)
        if level is None:
            first, last = at, self.right(at + 1, len(LEVELS) - 1)
        else:
            first, last = self.left(at, level), self.right(at + 1, level if level else -1)
        return None if first is None or last is None or last <= at else (first, last, at)


class Edit:
    """Text before and after a piece of a source. `mutated` is what takes effect when the switch is on."""

    def __init__(self, number, start, end, mutated, form="expression"):
        self.number, self.start, self.end = number, start, end
        switch = f"crate::mutant({number})"
        self.before, self.after = {
            "expression": (f"(if {switch} {{ {mutated} }} else {{ ", " })"),
            "deleted": (f"if !{switch} {{ ", " }"),
            "body": (f" if {switch} {{ return {mutated}; }} ", ""),
            "arm": (f" if !{switch}", ""),
            "guarded arm": (f"!{switch} && (", ")"),
        }[form]


def apply(source, edits):
    """The source with all edits, and where each is: {number: (start, end of what was inserted before, end)}. Leaves out
    edits that overlap an earlier one in part."""
    edits = sorted(edits, key=lambda edit: (edit.start, -edit.end))
    out, places, open_edits, at = [], {}, [], 0
    length = 0

    def put(text):
        nonlocal length
        out.append(text)
        length += len(text.encode())

    def close(until):
        nonlocal at
        while open_edits and open_edits[-1].end <= until:
            edit = open_edits.pop()
            put(source[at:edit.end])
            at = edit.end
            put(edit.after)
            places[edit.number] += (length,)

    for edit in edits:
        # What is inserted at a place goes behind what ends there.
        close(edit.start if edit.end > edit.start else edit.start - 1)
        if open_edits and edit.end > open_edits[-1].end:
            continue
        put(source[at:edit.start])
        at, start = edit.start, length
        put(edit.before)
        places[edit.number] = (start, length)
        open_edits.append(edit)
    close(len(source))
    put(source[at:])
    return "".join(out), places


def guilty(errors, places):
    """The mutants in which the compiler found errors."""
    found = set()
    for error in errors:
        spans = sorted(error["spans"], key=lambda span: not span["is_primary"])
        inserted, around = [], []
        for span in spans:
            for number, (start, inner, end) in places.get(span["file_name"], {}).items():
                if start <= span["byte_start"] < inner:
                    inserted.append(number)
                elif start <= span["byte_start"] < end:
                    around.append((end - start, number))
        found |= set(inserted[:1] or [number for _, number in sorted(around)[:1]])
    return found
