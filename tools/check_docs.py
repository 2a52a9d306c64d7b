"""Check that the documents are true as far as a program can tell.

1. Every link to a file, and to a heading of one, leads somewhere; every path in backticks exists.
2. A block marked `<!-- file: PATH -->` is that file; one marked `<!-- output: PATH -->` is what it prints.
3. A block marked `<!-- diagram: NAME -->` is what `stoppable.core.diagram.NAME()` draws.
4. A block marked `<!-- program -->` runs to its end, and prints what its comments `# -> text` say, line by line.
5. Every other Python block compiles, and what it imports from stoppable is there.

With `--write`, the blocks of 2 (files) and 3 are written anew instead.
"""

import ast
import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUN_S = 120  # for an example; far above what any takes

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.-]+(/[\w.-]+)+\.(py|md|sh|toml)|[\w.-]+(/[\w.-]+)*/")
_PRINTS = re.compile(r"# -> (.+)$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_BLOCK = re.compile(
    r"(?:<!-- (?P<kind>file|output|diagram|program)(?:: (?P<what>\S+))? -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def documents() -> list[Path]:
    """Return every document of the project."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
    return sorted([*files, *(ROOT / "examples").rglob("*.md"), *(ROOT / "bench").rglob("*.md")])


def headings(path: Path) -> set[str]:
    """Return the anchors of the headings in the document at *path*."""
    prose = _BLOCK.sub("", path.read_text())
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in _HEADING.findall(prose))
    return {heading.strip().replace(" ", "-") for heading in plain}


def bad_links(path: Path, prose: str) -> Iterator[str]:
    """Yield a line for each link in *prose* that leads nowhere."""
    for target in _LINK.findall(prose):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        if not file.exists():
            yield f"no such file: {target}"
        elif anchor and anchor not in headings(file):
            yield f"no such heading: {target}"


def bad_paths(path: Path, prose: str) -> Iterator[str]:
    """Yield a line for each path in backticks in *prose* that does not exist, from the root or from the package."""
    for code in _CODE.findall(prose):
        if not _PATH.fullmatch(code) or code.startswith((".venv", "/")):
            continue
        if not any((base / code).exists() for base in (ROOT, ROOT / "src" / "stoppable", path.parent)):
            yield f"no such path: {code}"


def bad_blocks(text: str) -> Iterator[str]:
    """Yield a line for each fenced block in *text* that is not what it says it is."""
    for block in _BLOCK.finditer(text):
        kind, what, body = block["kind"], block["what"], block["body"]
        if kind == "file" and body != (ROOT / what).read_text():
            yield f"the block is not the file {what} (tools/check_docs.py --write brings it up to date)"
        elif kind == "output":
            yield from bad_output(what, body)
        elif kind == "diagram" and body != drawing(what):
            yield f"the diagram {what} is not the one that is drawn now (tools/check_docs.py --write)"
        elif kind == "program":
            yield from bad_program(body)
        elif kind is None and block["language"] == "python":
            yield from bad_python(body)


def bad_output(what: str, expected: str) -> Iterator[str]:
    """Yield how the output of the program *what* differs from *expected*."""
    # Two processes print, so the order of the lines may differ.
    printed = run(ROOT / what)
    if sorted(printed.splitlines()) != sorted(expected.splitlines()):
        yield f"{what} prints:\n{printed}"


def bad_program(body: str) -> Iterator[str]:
    """Yield how what the program *body* prints differs from what its comments say."""
    expected = _PRINTS.findall(body)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(body)
        printed = run(path)
    if printed.splitlines() != expected:
        yield f"a program should print {expected}, and prints:\n{printed}"


def run(path: Path) -> str:
    """Return what the program at *path* prints, or how it failed."""
    # Unbuffered, a line and its end are two writes, and those of two processes get between each other.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, str(path)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    return done.stdout if done.returncode == 0 else f"(ended with {done.returncode})\n{done.stdout}{done.stderr}"


def bad_python(body: str) -> Iterator[str]:
    """Yield what is wrong with the Python program *body*, without running it."""
    try:
        tree = ast.parse(body)
    except SyntaxError as error:
        yield f"a block does not compile: {error}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "stoppable":
            for name in node.names:
                if not has_name(node.module or "", name.name):
                    yield f"a block imports what is not there: {node.module}.{name.name}"


def has_name(module: str, name: str) -> bool:
    """Say whether *module* can be imported and has *name*."""
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False


def drawing(name: str) -> str:
    """Return the diagram that the function of that name draws."""
    draw: Callable[[], str] = getattr(importlib.import_module("stoppable.core.diagram"), name)
    return draw().rstrip("\n") + "\n"


def write(path: Path) -> None:
    """Bring the blocks of files and diagrams in the document at *path* up to date."""

    def fresh(block: re.Match[str]) -> str:
        body = block["body"]
        if block["kind"] == "file":
            body = (ROOT / block["what"]).read_text()
        elif block["kind"] == "diagram":
            body = drawing(block["what"])
        start, end = (place - block.start() for place in block.span("body"))
        return block[0][:start] + body + block[0][end:]

    old = path.read_text()
    new = _BLOCK.sub(fresh, old)
    if new != old:
        path.write_text(new)
        print(f"wrote {path.relative_to(ROOT)}")


def main() -> int:
    """Print what is wrong and return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; programs would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    wrong = 0
    for path in documents():
        if "--write" in sys.argv[1:]:
            write(path)
        text = path.read_text()
        prose = _BLOCK.sub("", text)
        for line in (*bad_links(path, prose), *bad_paths(path, prose), *bad_blocks(text)):
            wrong += 1
            print(f"{path.relative_to(ROOT)}: {line}")
    print(f"{len(documents())} documents read, {wrong} things wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
