"""The tables: every state can be left or is the last, and what has no row raises."""

import pytest

from stoppable.core.diagram import climb_diagram, task_diagram, worker_diagram
from stoppable.core.tables import (
    TASK_MOVES,
    WORKER_MOVES,
    IllegalMove,
    TaskMove,
    TaskState,
    WorkerMove,
    WorkerState,
    move_task,
    move_worker,
)


def test_every_state_has_a_row_and_only_the_last_has_no_move() -> None:
    assert [state for state, row in TASK_MOVES.items() if not row] == [TaskState.DONE]
    assert [state for state, row in WORKER_MOVES.items() if not row] == [WorkerState.GONE]
    assert set(TASK_MOVES) == set(TaskState)
    assert set(WORKER_MOVES) == set(WorkerState)


def test_a_move_without_a_row_raises() -> None:
    for state in TaskState:
        for move in TaskMove:
            if move not in TASK_MOVES[state]:
                with pytest.raises(IllegalMove, match=f"a {state.value} task cannot {move.value}"):
                    move_task(state, move)
    for place in WorkerState:
        for step in WorkerMove:
            if step not in WORKER_MOVES[place]:
                with pytest.raises(IllegalMove, match=f"a {place.value} worker cannot {step.value}"):
                    move_worker(place, step)


def test_an_ended_task_cannot_end_again() -> None:
    """Behaviour 49."""
    with pytest.raises(IllegalMove):
        move_task(TaskState.DONE, TaskMove.END)


def test_each_row_is_an_arrow_of_the_diagrams() -> None:
    assert task_diagram().count("-->") == sum(len(row) for row in TASK_MOVES.values()) + 2
    assert worker_diagram().count("-->") == sum(len(row) for row in WORKER_MOVES.values()) + 2
    assert "    queued --> running: start" in task_diagram()
    assert climb_diagram().startswith("stateDiagram-v2\n")
