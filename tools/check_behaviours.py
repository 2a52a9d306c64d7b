"""Check that each behaviour which docs/behaviours.md says is tested is named in a test's docstring.

A test names what it tests as `Behaviour 7.`, `Behaviours 7, 8.` or `Behaviours 7-9.`. The reverse, a test of
something that the list says comes later, is only told: the list is then behind, and promises too little.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "docs" / "behaviours.md"
LAST = 128

_ROW = re.compile(r"^\| (\d+) \| (.+) \| (tested|later: .+) \|$")
_NAMED = re.compile(r"Behaviours? ((?:\d+(?:\s*[-–]\s*\d+)?(?:,\s*and\s+|,\s*|\s+and\s+)?)+)\.", re.IGNORECASE)


def claims() -> dict[int, str]:
    """Return the status of each behaviour in the list."""
    rows = [match for line in LIST.read_text().splitlines() if (match := _ROW.match(line))]
    numbers = [int(row[1]) for row in rows]
    if numbers != list(range(1, LAST + 1)):
        odd = sorted(set(range(1, LAST + 1)).symmetric_difference(numbers)) or "their order"
        raise SystemExit(f"{LIST.name} must have one row for each of 1-{LAST}, in order; wrong: {odd}")
    return {int(row[1]): row[3] for row in rows}


def named(docstring: str) -> Iterator[int]:
    """Yield the numbers of the behaviours that *docstring* names."""
    for match in _NAMED.finditer(docstring):
        for part in re.split(r",|\band\b", match[1]):
            ends = [int(number) for number in re.findall(r"\d+", part)]
            if ends:
                yield from range(ends[0], ends[-1] + 1)


def tests() -> dict[int, set[str]]:
    """Return the names of the tests of each behaviour."""
    found: dict[int, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            for number in named(ast.get_docstring(node) or ""):
                found[number].add(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def ranges(numbers: list[int]) -> str:
    """Return sorted *numbers* as text, neighbours joined: 1-3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def main() -> int:
    """Print what is missing and return the exit status."""
    status = claims()
    found = tests()
    tested = [number for number, word in status.items() if word == "tested"]
    missing = [number for number in tested if number not in found]
    early = [number for number, word in status.items() if word != "tested" and number in found]
    unknown = [number for number in sorted(found) if number not in status]
    if early:
        print(f"tested, though the list says later: {ranges(early)}")
    if unknown:
        print(f"no such behaviour: {ranges(unknown)}")
    if missing:
        print(f"said to be tested, but named by no test: {ranges(missing)}")
    print(f"{len(tested) - len(missing)} of the {len(tested)} behaviours said to be tested are named by a test")
    return 1 if missing or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
