# exercise: fibonacci
def solve(n):
    # recursion with no way out
    return solve(n - 1) + solve(n - 2)
