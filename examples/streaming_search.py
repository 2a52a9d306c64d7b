"""A streaming search, stopped when enough was found: the worker is asked, cleans up, and is used again."""

import itertools

from stoppable import ProcessPoolExecutor


def sums_that_are_squares(low):
    """Yield, without end, the squares above *low* that are the sum of two squares."""
    try:
        for root in itertools.count(int(low**0.5) + 1):
            square = root * root
            for part in range(1, root):
                rest = square - part * part
                if int(rest**0.5) ** 2 == rest:
                    yield square  # is sent to the parent, and raises here once the stop was asked for
                    break
    finally:
        print("the search cleans up", flush=True)


if __name__ == "__main__":
    with ProcessPoolExecutor(max_workers=1) as pool:
        with pool.stream(sums_that_are_squares, 1000) as found:
            print("found:", *itertools.islice(found, 5))
        # The block is left: the search has been stopped, and has ended.
        print("the search", "was stopped" if found.future.stopped() else "has finished")
        print("the worker goes on:", pool.submit(pow, 2, 10).result())
