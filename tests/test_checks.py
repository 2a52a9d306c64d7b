"""The checks of the house bite: each one sees the fault that it is there for."""

import ast
from pathlib import Path

import pytest

import check_behaviours
import check_docs
import check_sizes


@pytest.mark.parametrize(
    ("docstring", "numbers"),
    [
        ("Behaviour 7.", [7]),
        ("Says more.\n\nBehaviours 7, 8, and 12.", [7, 8, 12]),
        ("Behaviours 29-31, 34.", [29, 30, 31, 34]),
        ("Behaviour 1. Behaviour 2.", [1, 2]),
        ("The behaviour of 7 tasks.", []),
        ("", []),
    ],
)
def test_a_docstring_names_its_behaviours(docstring: str, numbers: list[int]):
    assert list(check_behaviours.named(docstring)) == numbers


def test_the_list_of_behaviours_has_each_number_once():
    assert list(check_behaviours.claims())[: check_behaviours.LAST] == list(range(1, check_behaviours.LAST + 1))


def test_a_gap_in_the_list_of_behaviours_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = check_behaviours.LIST.read_text().replace("\n| 17 |", "\n| seventeen |")
    (tmp_path / "list.md").write_text(rows)
    monkeypatch.setattr(check_behaviours, "LIST", tmp_path / "list.md")
    with pytest.raises(SystemExit, match=r"wrong: \[17\]"):
        check_behaviours.claims()


def test_neighbouring_numbers_are_joined():
    assert check_behaviours.ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"


def test_the_docstring_does_not_count_as_length():
    function = ast.parse('def f():\n    """One\n\n    two\n    """\n    return 1\n').body[0]
    assert isinstance(function, ast.FunctionDef)
    assert check_sizes.function_lines(function) == 2


def test_a_function_and_a_file_that_are_too_long_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check_sizes, "ROOT", tmp_path)
    path = tmp_path / "long.py"
    path.write_text("def f():\n" + "    x = 1\n" * 400)
    assert list(check_sizes.too_long(path)) == [
        "long.py: 401 lines, at most 400",
        "long.py:1: f has 401 lines, at most 60",
    ]


def test_two_test_modules_of_one_name_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check_sizes, "ROOT", tmp_path)
    for folder in ("core", "live"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_x.py").touch()
    assert list(check_sizes.same_names()) == ["tests/live/test_x.py has the name of tests/core/test_x.py"]


def test_links_that_lead_nowhere_are_reported(tmp_path: Path):
    document = tmp_path / "a.md"
    document.write_text("# The only heading\n")
    prose = "[a](b.md) [b](a.md#the-only-heading) [c](#none) [d](https://example.org/x)"
    assert list(check_docs.bad_links(document, prose)) == ["no such file: b.md", "no such heading: #none"]


def test_a_path_in_backticks_that_is_not_there_is_reported(tmp_path: Path):
    prose = "`core/ladder.py` `src/stoppable/rung.py` `core/nowhere.py` `a / b`"
    assert list(check_docs.bad_paths(tmp_path / "a.md", prose)) == ["no such path: core/nowhere.py"]


def test_a_block_that_is_not_the_file_it_names_is_reported():
    block = "<!-- file: examples/readme.py -->\n```python\nprint(1)\n```\n"
    (line,) = check_docs.bad_blocks(block)
    assert line.startswith("the block is not the file examples/readme.py")


def test_a_python_block_that_does_not_compile_is_reported():
    (line,) = check_docs.bad_blocks("```python\nif True\n```\n")
    assert line.startswith("a block does not compile")


def test_a_program_that_prints_something_else_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "x.py").write_text("print('so')")
    monkeypatch.setattr(check_docs, "ROOT", tmp_path)
    assert list(check_docs.bad_output("x.py", "so\n")) == []
    assert list(check_docs.bad_output("x.py", "not so\n")) == ["x.py prints:\nso\n"]
