# exercise: transpose
def solve(rows):
    return [list(column) for column in zip(*rows)]
