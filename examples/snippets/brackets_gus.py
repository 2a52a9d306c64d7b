# exercise: brackets
def solve(text):
    return all(text.count(a) == text.count(b) for a, b in ["()", "[]", "{}"])
