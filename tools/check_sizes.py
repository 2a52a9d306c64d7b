"""Check that the source stays readable: no file over 400 lines, no function over 60, no two tests of one name.

Docstrings do not count towards a function's length: they should be as long as they need to be.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES = 400
FUNCTION_LINES = 60


def too_long(path: Path) -> Iterator[str]:
    """Yield a line for the file at *path*, and for each function in it, that is too long."""
    text = path.read_text()
    where = path.relative_to(ROOT)
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{where}: {lines} lines, at most {FILE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = function_lines(node)
            if length > FUNCTION_LINES:
                yield f"{where}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}"


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines from `def` to the last one, without the docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        first = node.body[0]
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def same_names() -> Iterator[str]:
    """Yield a line for each name that two modules below tests/ share: only one of them could be imported."""
    seen: dict[str, Path] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name in ("conftest.py", "__init__.py"):
            continue
        if path.name in seen:
            yield f"{path.relative_to(ROOT)} has the name of {seen[path.name].relative_to(ROOT)}"
        seen[path.name] = path


def main() -> int:
    """Print what is wrong and return the exit status."""
    files = sorted((ROOT / "src").rglob("*.py"))
    wrong = [line for path in files for line in too_long(path)]
    wrong += same_names()
    for line in wrong:
        print(line)
    print(f"{len(files)} files looked at, {len(wrong)} things wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
