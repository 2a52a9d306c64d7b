"""Progress in a notebook: the bars that a person sees in it, and nothing beside them."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import stoppable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(map(find_spec, ("nbclient", "ipykernel", "ipywidgets", "tqdm"))), reason="no notebook"),
]

FIRST = """
import logging, sys, threading, time
import stoppable, tqdm
logging.getLogger("stoppable").setLevel(logging.ERROR)  # a line about an interrupt would be in some cell's outputs
from stoppable import ProcessPoolExecutor, aio
pool = ProcessPoolExecutor(2, name="mine")
def slow(number):
    for _ in stoppable.track(range(10)):
        time.sleep(0.01)
    return number
"""
IN_BLOCK = """
with stoppable.show_progress(pool):
    print([pool.submit(slow, number).result() for number in range(4)])
"""
IN_ASYNC_BLOCK = """
async with aio.show_progress(futures := [pool.submit(slow, number) for number in range(4)]):
    print([await aio.result(future) for future in futures])
"""
LEFT = """
results = pool.map(slow, range(40), buffersize=2, progress=True)
next(results), results.close()
"""
LEFT_IN_A_LOOP = """
results = aio.Pool(pool).map(slow, range(40), buffersize=2, progress=True)
await anext(results), await results.aclose()
"""
# As a pool whose tasks are submitted while it is shown.
GROWING = """
from stoppable.bars import View, make
bar = make("grows")
for view in (View(0, None, []), View(1, 2, []), View(3, 5, [])):
    bar.draw(view)
bar.close()
"""
# What is left over: of bars, and of threads that draw them.
LAST = """
pool.shutdown()
print(len(tqdm.tqdm._instances), [t.name for t in threading.enumerate() if "progress" in t.name or "TMonitor" in t.name])
"""
NOTHING = {"output_type": "stream", "name": "stdout", "text": "0 []\n"}
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


class Rendered:
    """What is saved of a notebook of *cells*, after it was run in a kernel."""

    def __init__(self, cells: list[str], folder: Path) -> None:
        folders = {name: str(folder) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "HOME")}
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("rendered.py"))],
            input=json.dumps([FIRST, *cells, LAST]),
            capture_output=True,
            text=True,
            env={**os.environ, **folders, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        # The kernel may say there that its sockets were closed under it when it was told to end (ipykernel, on a busy machine).
        assert str(Path(stoppable.__file__).parent) not in done.stderr
        saved = json.loads(done.stdout)
        self.state = saved["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
        first, *self.outputs, last = [cell["outputs"] for cell in saved["cells"]]
        assert first == []
        assert last == [NOTHING]

    def bar(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return what a person sees of the bar that is *output*, at the end."""
        left, bar, right = (self._widget(name) for name in self._widget(output["data"][VIEW]["model_id"])["children"])
        return {
            "text": f"{left['value']}{right['value'].partition('[')[0]}".replace("\u2007", " "),
            "filled": bar["value"] / bar["max"],
            "width": self._widget(bar["layout"])["width"],  # None: all there is
            "style": bar["bar_style"],
        }

    def _widget(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self.state[name.removeprefix("IPY_MODEL_")]["state"]
        return state

    def boxes(self) -> int:
        return sum(widget["model_name"] == "HBoxModel" for widget in self.state.values())


def written(output: dict[str, Any]) -> tuple[str, str]:
    return output["name"], output["text"]


def test_a_notebooks_own_bar_of_tqdm_is_drawn_as_wide_as_it_should_be_and_nothing_else(tmp_path: Path) -> None:
    """Behaviour 128. By `map`, in a block, and in a cell that awaits; whatever asks for it."""
    rendered = Rendered(
        [
            "print(list(pool.map(slow, range(4), progress=True)))",
            "print(list(pool.map(slow, range(4), progress='tqdm')))",
            "print([number async for number in aio.Pool(pool).map(slow, range(4), progress=True)])",
            IN_BLOCK,
            IN_ASYNC_BLOCK,
        ],
        tmp_path,
    )
    for title, outputs in zip(("slow", "slow", "slow", "mine", "tasks"), rendered.outputs, strict=True):
        shown = [output for output in outputs if output["output_type"] == "display_data"]
        printed = [written(output) for output in outputs if output["output_type"] != "display_data"]
        assert printed == [("stdout", "[0, 1, 2, 3]\n")]
        assert [rendered.bar(output) for output in shown] == [
            {"text": f"{title}: 100% 4/4 ", "filled": 1.0, "width": None, "style": "success"}
        ]
    assert rendered.boxes() == 5


def test_a_map_that_is_left_early_leaves_a_bar_that_shows_how_far_it_was(tmp_path: Path) -> None:
    """Behaviour 128."""
    rendered = Rendered(
        [
            LEFT,
            LEFT_IN_A_LOOP,
        ],
        tmp_path,
    )
    for outputs in rendered.outputs:
        shown, value = outputs
        assert value["data"]["text/plain"] == "(0, None)"
        assert "/40 " in shown["data"]["text/plain"]  # what is seen where no widget can be drawn
        bar = rendered.bar(shown)
        assert (bar["style"], bar["width"]) == ("danger", None)
        assert 0 < bar["filled"] < 0.2


def test_a_bar_whose_total_is_learnt_late_and_grows_is_as_wide_and_as_full_as_any(tmp_path: Path) -> None:
    """Behaviour 128."""
    rendered = Rendered([GROWING], tmp_path)
    (output,) = rendered.outputs[0]
    assert rendered.bar(output) == {"text": "grows:  60% 3/5 ", "filled": 0.6, "width": None, "style": "danger"}


@pytest.mark.parametrize(("gone", "ends"), [("ipywidgets", "4/4"), ("tqdm", "slow: 4/4 done")])
def test_without_widgets_a_notebook_gets_tqdms_text_and_without_tqdm_a_line(
    gone: str, ends: str, tmp_path: Path
) -> None:
    """Behaviour 128."""
    cells = [f"sys.modules['{gone}'] = None", "print(list(pool.map(slow, range(4), progress=True)))"]
    rendered = Rendered(cells, tmp_path)
    *drawn, out = map(written, rendered.outputs[1])
    assert out == ("stdout", "[0, 1, 2, 3]\n")
    assert {name for name, _ in drawn} == {"stderr"}
    text = "".join(text for _, text in drawn)
    assert text.endswith("\n")
    assert ends in text.split("\r")[-1]
    assert not rendered.boxes()
