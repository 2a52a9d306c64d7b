"""The same tasks and the same kills for several pools: how many tasks does each lose that nobody had harmed?

    python tests/chaos/chaos_peers.py --seeds 1 2 3 --tasks 2000

Needs the extra `bench` (pebble). Prints the table of docs/chaos.md. Only what all of them have is used:
submitting, results and exceptions, and SIGKILL and SIGSTOP of workers from outside; besides, `cancel()` of
running tasks where a pool can do that. A pool that breaks is replaced by a new one, as its user would do.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from chaos_peers_program import main

    sys.exit(main())
