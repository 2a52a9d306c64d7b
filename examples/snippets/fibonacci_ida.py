# exercise: fibonacci
def solve(n):
    golden = (1 + 5 ** 0.5) / 2
    return golden ** n / 5 ** 0.5
