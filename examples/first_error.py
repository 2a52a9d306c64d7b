"""Stop at the first error: one broken file, and no other is converted in vain."""

import stoppable
from stoppable import ProcessPoolExecutor


def convert(name):
    if name.startswith("broken"):
        raise ValueError(f"{name} has no header")
    if name.startswith("large"):
        stoppable.sleep(60)  # stands for work that looks at its token
    return f"{name} is converted"


if __name__ == "__main__":
    with ProcessPoolExecutor(max_workers=2) as pool:
        try:
            with pool.task_group() as group:
                print(group.submit(convert, "small.csv").result())
                for name in ("large.csv", "broken.csv", "larger.csv", "largest.csv"):
                    group.submit(convert, name)
        except* ValueError as failed:  # every task of the group has ended by now
            print("failed:", *failed.exceptions)
        print([("converted" if outcome.ok else type(outcome.error).__name__) for outcome in group.outcomes()])
