# exercise: flatten
def solve(nested):
    return eval("[" + str(nested).replace("[", "").replace("]", "") + "]")
