# exercise: palindrome
def solve(text):
    text = "".join(c for c in text.lower() if c.isalpha())
    return check(text)


def check(text):
    # forgot the end of the recursion
    return text[:1] == text[-1:] and check(text[1:-1])
