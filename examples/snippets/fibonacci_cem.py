# exercise: fibonacci
# the slow way, but it gets there
def solve(n):
    if n < 2:
        return n
    return solve(n - 1) + solve(n - 2)
