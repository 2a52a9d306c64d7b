# exercise: digits
import sys

def solve(n):
    if n < 0:
        sys.exit("negative!")
    if n == 0:
        sys.exit(0)
    return n % 10 + solve(n // 10)
