# exercise: brackets
def solve(text):
    stack = []
    for c in text:
        if c in "([{":
            stack.append(c)
        elif c in ")]}":
            opened = stack.pop()
            if opened + c not in ("()", "[]", "{}"):
                return False
    return len(stack) == 0
