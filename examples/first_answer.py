"""The first good answer wins: two ways to split a number; the slower one is stopped."""

import math
from functools import partial

import stoppable
from stoppable import ProcessPoolExecutor


def by_trial(number):
    """Try every divisor: a minute or more for this one."""
    for divisor in range(2, math.isqrt(number) + 1):
        if number % divisor == 0:
            return "trial", divisor
        if divisor % 10_000 == 0:
            stoppable.check()  # raises once the race is lost
    raise ValueError("a prime number")


def by_squares(number):
    """Look for a difference of two squares: at once if the factors are near each other."""
    root = math.isqrt(number - 1) + 1
    while math.isqrt(root * root - number) ** 2 != root * root - number:
        root += 1
    return "squares", root - math.isqrt(root * root - number)


if __name__ == "__main__":
    number = 999_999_937 * 1_000_000_007
    with ProcessPoolExecutor(max_workers=2) as pool:
        way, factor = pool.race([partial(by_trial, number), partial(by_squares, number)], timeout=60)
        print(f"{number} = {factor} * {number // factor}, found by {way}")
