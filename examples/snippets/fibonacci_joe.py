# exercise: fibonacci
memory = {0: 0, 1: 1}

def solve(n):
    if n not in memory:
        memory[n] = solve(n - 1) + solve(n - 2)
    return memory[n]
