"""Ways to draw how far something is: rich, tqdm, or a plain line now and then. All write to stderr only.

They know nothing of pools: they are given a `View`, as often as the caller likes, by one thread at a time.
No thread is started: the libraries' own are turned off.
"""

import importlib
import importlib.util
import sys
import time
from typing import Any, Literal, NamedTuple, Protocol, cast, get_args

Style = Literal["auto", "rich", "tqdm", "line"]
_LINE_EVERY_S = 5.0
_MOST_ROWS = 10  # of running tasks


class Row(NamedTuple):
    """One running task, which says how far it is."""

    task: int
    name: str
    done: float
    total: float | None


class View(NamedTuple):
    """How far something is.

    Attributes:
        total: None: nobody knows.
        rows: the running tasks that say how far they are.
    """

    done: int
    total: int | None
    rows: list[Row]


class Bars(Protocol):
    """A way to draw views."""

    def draw(self, view: View) -> None:
        """Show *view* instead of the one before."""

    def close(self) -> None:
        """Leave the last view where it is, and the terminal as it was."""


def style_of(style: str) -> Style:
    """Return *style*.

    Raises:
        ValueError: there is no such style.
        ImportError: its library is not there.
    """
    if style not in get_args(Style):
        raise ValueError(f"a style of progress is one of {', '.join(get_args(Style))}; it was {style!r}")
    if style in ("rich", "tqdm") and importlib.util.find_spec(style) is None:
        raise ImportError(f"{style} is not installed: pip install 'stoppable[progress]'")
    return cast(Style, style)


def make(title: str, style: Style = "auto") -> Bars:
    """Return a way to draw: the one that was asked for, or what this process's stderr is good for."""
    if style == "auto":
        style = _fitting()
    if style == "rich":
        return _Rich(title)
    return _Tqdm(title) if style == "tqdm" else _Line(title)


def _fitting() -> Style:
    if _in_notebook():
        return "tqdm" if importlib.util.find_spec("tqdm") else "line"
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return "rich" if on_terminal and importlib.util.find_spec("rich") else "line"


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    # By name, and of what it is derived from: importing ipykernel to ask takes a while, and Colab's is a class of its own.
    kinds = () if shell is None else type(shell.get_ipython()).__mro__
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in kinds)


def _count(done: float, total: float | None) -> str:
    return f"{done:g}" if total is None else f"{done:g}/{total:g}"


def _share(row: Row) -> str:
    return f"{row.name} {row.done / row.total:.0%}" if row.total else f"{row.name} {row.done:g}"


class _Line:
    """Lines of text: one every five seconds at most, if there is news, and the last state at the end."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._next_at = time.monotonic() + _LINE_EVERY_S
        self._view: View | None = None
        self._said = ""

    def draw(self, view: View) -> None:
        self._view = view
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _LINE_EVERY_S
            self._say(view)

    def close(self) -> None:
        if self._view is not None:
            self._say(self._view)

    def _say(self, view: View) -> None:
        text = f"{self._title}: {_count(view.done, view.total)} done"
        if view.rows:
            text += f" ({', '.join(_share(row) for row in view.rows[:_MOST_ROWS])})"
        if text != self._said and sys.stderr is not None:
            self._said = text
            print(text, file=sys.stderr, flush=True)


class _Rich:
    """A bar for all of it, and one below for each running task that says how far it is."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            auto_refresh=False,  # else it starts a thread
            # What is printed meanwhile goes above the bars; but not if it goes elsewhere, where it must arrive.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            redirect_stderr=True,
        )
        self._title = title
        self._whole: Any = None
        self._rows: dict[int, Any] = {}  # task -> rich's number of its bar

    def draw(self, view: View) -> None:
        progress = self._progress
        shown = view.rows[:_MOST_ROWS]
        for gone in self._rows.keys() - {row.task for row in shown}:
            progress.remove_task(self._rows.pop(gone))
        self._whole = self._put(self._whole, self._title, view.done, view.total)
        for row in shown:
            self._rows[row.task] = self._put(self._rows.get(row.task), f"  {row.name}", row.done, row.total)
        progress.start()  # the first time; then it does nothing
        progress.refresh()

    def _put(self, bar: Any, title: str, done: float, total: float | None) -> Any:
        count = _count(done, total)
        if bar is None:
            # All at once: what is added is drawn as it is. A float will do.
            return self._progress.add_task(title, completed=done, total=total, count=count)  # type: ignore[arg-type]
        self._progress.update(bar, completed=done, total=total, count=count)
        return bar

    def close(self) -> None:
        self._progress.stop()


class _Tqdm:
    """One bar, with the running tasks behind it."""

    def __init__(self, title: str) -> None:
        in_cell = _in_notebook() and importlib.util.find_spec("ipywidgets") is not None
        whole: Any = importlib.import_module("tqdm.notebook" if in_cell else "tqdm").tqdm
        # Else it starts a thread, for all bars of the process; and `reset` would show an empty bar.
        self._kind = type("Bar", (whole,), {"monitor_interval": 0, "refresh": lambda *_, **__: None})
        self._refresh = whole.refresh
        self._title = title
        # Made with the first view: a notebook's bar without a total is short, and full.
        self._bar: Any = None

    def draw(self, view: View) -> None:
        if self._bar is None:
            self._bar = self._kind(desc=self._title, file=sys.stderr, total=view.total, unit=" tasks")
        bar = self._bar
        if bar.disable:  # by TQDM_DISABLE
            return
        if bar.total != view.total:
            began = bar.start_t
            bar.reset(view.total)  # the widget has a maximum of its own
            bar.start_t = began
        bar.n = view.done
        bar.set_postfix_str(", ".join(_share(row) for row in view.rows[:_MOST_ROWS]), refresh=False)
        self._refresh(bar)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            if sys.stderr is not None:
                sys.stderr.flush()  # of a newline, which a notebook would show after what is printed next
