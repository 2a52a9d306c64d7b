"""A task in a module that imports nothing: workers that are often replaced get to it soon."""


def count_to(steps: int) -> int:
    done = 0
    for _ in range(steps):
        done += 1
    return done
