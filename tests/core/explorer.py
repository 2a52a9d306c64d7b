"""Visit every reachable state of a small pool, breadth first, so that a failure comes with its shortest path.

By hand, for larger pools: `PYTHONPATH=src python tests/core/explorer.py --tasks 3 --size 2 --crashes 1`.
"""

import argparse
import time
from collections import deque
from typing import NamedTuple

from proc import Config, Move
from stoppable.core.machine import Machine
from stoppable.rung import Rung
from world import World


class Broken(AssertionError):
    """The machine broke a promise; the text is the shortest way there."""


class Found(NamedTuple):
    states: int
    edges: int
    good: int
    most_steps: int  # to end all stops with no help from any worker


def explore(config: Config, machine: type[Machine] = Machine, *, limit: int = 2_000_000) -> Found:
    """Visit all states. Raises Broken when a promise is broken, in any of them."""
    start = World(config, machine)
    ids: dict[Move, int] = {start.key(): 0}
    came_from: list[tuple[int, Move]] = [(-1, ())]
    parents: list[list[int]] = [[]]
    good: list[int] = []
    todo = deque([(0, start)])
    edges = most = 0

    def trail(state: int, *last: Move) -> str:
        moves = list(last)
        while state > 0:
            state, move = came_from[state]
            moves.append(move)
        return "".join(f"\n    {' '.join(str(part) for part in move)}" for move in reversed(moves))

    while todo:
        state, world = todo.popleft()
        if world.good():
            good.append(state)
        # Replies and time alone are what `alone` plays, so their ends are covered by where they came from.
        if world.stopping() and came_from[state][1][:1] not in (("reply",), ("tick",)):
            try:
                most = max(most, world.copy().alone())
            except Exception as error:
                raise Broken(f"{type(error).__name__}: {error}; then nobody helped{trail(state)}") from error
        for move in list(world.moves()):
            edges += 1
            after = world.copy()
            try:
                after.play(move)
            except Exception as error:
                raise Broken(f"{type(error).__name__}: {error}{trail(state, move)}") from error
            key = after.key()
            found = ids.get(key)
            if found is None:
                found = ids[key] = len(ids)
                came_from.append((state, move))
                parents.append([])
                todo.append((found, after))
                if found > limit:
                    raise RuntimeError(f"more than {limit} states")
            parents[found].append(state)
    stuck = _stuck(parents, good)
    if stuck:
        raise Broken(f"{len(stuck)} states of {len(ids)} from which not all can end; the first:{trail(min(stuck))}")
    return Found(len(ids), edges, len(good), most)


def _stuck(parents: list[list[int]], good: list[int]) -> set[int]:
    """Return the states from which no good one can be reached."""
    seen, stack = set(good), list(good)
    while stack:
        for parent in parents[stack.pop()]:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return set(range(len(parents))) - seen


def main() -> None:
    parser = argparse.ArgumentParser(description="Visit every state of a small pool.")
    for name, value in (("tasks", 2), ("size", 1), ("ahead", 1), ("spares", 0), ("crashes", 1), ("shields", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--spawn-fails", type=int, default=0)
    parser.add_argument("--boot-fails", type=int, default=0)
    parser.add_argument("--most", type=int, default=None, help="max_tasks_per_child")
    parser.add_argument("--stops", default="ask,kill")
    parser.add_argument("--shutdown", action="store_true")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--looks", action="store_true")
    parser.add_argument("--timeout", type=float, default=None)
    parser.add_argument("--deadline", type=float, default=None)
    said = parser.parse_args()
    config = Config(
        tasks=said.tasks, size=said.size, ahead=said.ahead, spares=said.spares, crashes=said.crashes,
        shields=said.shields, spawn_fails=said.spawn_fails, boot_fails=said.boot_fails, most=said.most,
        stops=tuple(Rung.parse(name) for name in said.stops.split(",") if name), looks=said.looks, slow=said.slow,
        shutdown=(False, True) if said.shutdown else (), timeout_s=said.timeout, deadline=said.deadline,
    )  # fmt: skip
    began = time.perf_counter()
    print(config)
    print(explore(config), f"{time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
