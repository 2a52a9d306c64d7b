"""Draw the tables as mermaid text, so that the docs show what the code does and nothing else."""

from collections.abc import Mapping
from enum import Enum

from stoppable.core.ladder import CLIMBS
from stoppable.core.tables import TASK_MOVES, WORKER_MOVES, TaskState, WorkerState


def _draw(first: str, rows: list[tuple[str, str, str]], last: str) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {old} --> {new}: {move}" for old, move, new in rows]
    return "\n".join([*lines, f"    {last} --> [*]"])


def _rows(moves: Mapping[Enum, Mapping[Enum, Enum]]) -> list[tuple[str, str, str]]:
    return [
        (str(old.value), str(move.value), str(new.value)) for old, row in moves.items() for move, new in row.items()
    ]


def task_diagram() -> str:
    """Return the states of a task as a mermaid state diagram."""
    return _draw(TaskState.QUEUED.value, _rows(TASK_MOVES), TaskState.DONE.value)  # type: ignore[arg-type]


def worker_diagram() -> str:
    """Return the states of a worker as a mermaid state diagram."""
    return _draw(WorkerState.STARTING.value, _rows(WORKER_MOVES), WorkerState.GONE.value)  # type: ignore[arg-type]


def climb_diagram() -> str:
    """Return the rungs that can follow each other as a mermaid state diagram."""
    rows = [(str(old), "grace over", str(new)) for old, row in CLIMBS.items() if old is not None for new in row]
    firsts = "\n".join(f"    [*] --> {rung}" for rung in CLIMBS[None][1:])
    return _draw(str(CLIMBS[None][0]), rows, "kill") + "\n" + firsts
