"""The exercises, their test cases, and how one student's file is graded.

A file names its exercise in its first line (`# exercise: digits`) and defines `solve`. Whatever it
does is an answer for the table: `grade` returns a `Grade` also for a file that raises or cannot be
compiled. It catches no BaseException, so a stop goes through it.

A worker is a process of its own, which is no prison: run code that you do not trust in a container.
"""

import contextlib
import io
from pathlib import Path
from typing import Any, NamedTuple

FIZZBUZZ_15 = ["1", "2", "Fizz", "4", "Buzz", "Fizz", "7", "8", "Fizz", "Buzz", "11", "Fizz", "13", "14", "FizzBuzz"]

# Exercise -> cases, each the arguments and the value wanted.
EXERCISES: dict[str, list[tuple[tuple[Any, ...], Any]]] = {
    "fizzbuzz": [((3,), ["1", "2", "Fizz"]), ((0,), []), ((15,), FIZZBUZZ_15)],
    "palindrome": [(("level",), True), (("No lemon, no melon",), True), (("python",), False)],
    "fibonacci": [((0,), 0), ((10,), 55), ((22,), 17711)],
    "wordcount": [(("a b a",), {"a": 2, "b": 1}), (("Stop, stop!",), {"stop": 2}), (("",), {})],
    "primes": [((10,), [2, 3, 5, 7]), ((1,), []), ((29,), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29])],
    "flatten": [(([1, [2, 3]],), [1, 2, 3]), (([[[4]], 5],), [4, 5]), (([],), [])],
    "roman": [((4,), "IV"), ((1994,), "MCMXCIV"), ((38,), "XXXVIII")],
    "transpose": [(([[1, 2], [3, 4]],), [[1, 3], [2, 4]]), (([[1, 2, 3]],), [[1], [2], [3]])],
    "brackets": [(("(a[b]{c})",), True), (("([)]",), False), (("(",), False), (("]",), False)],
    "caesar": [(("abc", 1), "bcd"), (("Xyz!", 3), "Abc!"), (("stop", 0), "stop")],
    "digits": [((0,), 0), ((1203,), 6), ((90210,), 12)],
}


class Grade(NamedTuple):
    """What became of one file: cases passed, cases in all, and a remark."""

    passed: int
    cases: int
    remark: str


def grade(path: Path) -> Grade:
    """Run the file at *path* on the cases of its exercise."""
    source = path.read_text()
    cases = EXERCISES[source.partition("\n")[0].removeprefix("# exercise: ")]
    printed = io.StringIO()
    passed, remark = 0, ""
    with contextlib.redirect_stdout(printed):
        try:
            solve = load(path, source)
            for arguments, wanted in cases:
                got = solve(*arguments)
                if got == wanted:
                    passed += 1
                elif not remark:
                    call = ", ".join(map(repr, arguments))
                    remark = short(f"solve({call}) gave {got!r}, not {wanted!r}")
        except (Exception, SystemExit) as error:
            remark = short(f"{type(error).__name__}: {error}")
    if printed.tell() > 1000:
        remark = f"printed {printed.tell():,} characters; {remark}".rstrip("; ")
    return Grade(passed, len(cases), remark)


def load(path: Path, source: str) -> Any:
    """Return the `solve` that *source* defines; *path* is for tracebacks."""
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(source, str(path), "exec"), namespace)
    return namespace["solve"]


def short(text: str) -> str:
    """Return *text* as one line of at most 70 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 70 else text[:69] + "…"
