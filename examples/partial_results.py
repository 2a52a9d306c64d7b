"""Take what there is at a deadline: whole results of those that ended, partial ones of the others."""

import stoppable
from stoppable import ProcessPoolExecutor


def count_primes(below):
    found = 0
    for number in range(2, below):
        found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        if number % 1000 == 0:
            stoppable.publish((number, found))  # kept, also if this process is killed
            stoppable.check()  # raises at the deadline
    return found


if __name__ == "__main__":
    limits = [100, 1000, 10**9]
    with ProcessPoolExecutor(max_workers=3) as pool, pool.task_group(timeout=5, on_error="ignore") as group:
        for limit in limits:
            group.submit(count_primes, limit)
    for limit, outcome in zip(limits, group.outcomes(), strict=True):
        if outcome.ok:
            print(f"below {limit}: {outcome.value} primes")
        else:
            reached, found = outcome.error.partial
            print(f"below {limit}: out of time, but 168 of the first 1000 are known: {found >= 168}")
