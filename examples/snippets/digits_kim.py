# exercise: digits
def solve(n):
    total = 0
    while n:
        n, d = divmod(n, 10)
        total += d
    print("#" * 2_000_000)
    return total
