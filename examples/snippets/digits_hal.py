# exercise: digits
def solve(n):
    return sum(int(d) for d in str(n))
