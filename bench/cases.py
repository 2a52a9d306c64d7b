"""The measurements by name; each runs in a process of its own.

    python bench/cases.py CASE PEER [COUNTS]     # prints one JSON object

COUNTS is a JSON object with arguments of the case, such as `{"count": 100}`. A number's name ends with its unit. A text
in place of a number says why there is none; `cannot` stands for all of them. Nothing is averaged here over several
runs: `run.py` does.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from cases_cost import flag, imports, life, memory
from cases_rate import Numbers, arrays, chunks, efficiency, endless, head_of_line, noops, queue, round_trip
from cases_stop import asks, interrupts, recovery, stops
from floors import floors
from peer import Cannot
from peers import PEERS

CASES: dict[str, Callable[..., Numbers]] = {
    "floors": floors,
    "flag": flag,
    "noops": noops,
    "chunks": chunks,
    "round_trip": round_trip,
    "efficiency": efficiency,
    "head_of_line": head_of_line,
    "arrays": arrays,
    "asks": asks,
    "interrupts": interrupts,
    "stops": stops,
    "recovery": recovery,
    "life": life,
    "imports": imports,
    "memory": memory,
    "queue": queue,
    "endless": endless,
}
OURS_ONLY = {"flag", "floors"}  # the one has what it is compared with in the same process, the other is no pool's


def main() -> None:
    """Measure, print, and leave at once: some pools leave threads that would hold the process."""
    case, peer = sys.argv[1:3]
    counts: dict[str, Any] = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    numbers: Numbers
    try:
        numbers = CASES[case](PEERS[peer], **counts)
    except Cannot as no:
        numbers = {"cannot": str(no)}
    except ImportError as missing:
        numbers = {"cannot": f"not installed: {missing.name}"}
    print(json.dumps(numbers), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
