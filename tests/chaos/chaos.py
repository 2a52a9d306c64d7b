"""Chaos: thousands of tasks of every kind in one pool, stopped at random and with its processes killed from outside.

    python tests/chaos/chaos.py --runs 100 --tasks 10000
    python tests/chaos/chaos.py --seed 1234          # the same choices again

Exit status 1, and the seed, if any promise was broken. See docs/chaos.md.
"""

# Each worker imports this file again, as `__mp_main__`: so it imports nothing.
if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from chaos_program import main

    sys.exit(main())
