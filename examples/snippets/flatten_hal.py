# exercise: flatten
def solve(nested):
    return sum(nested, [])
