# exercise: palindrome
def solve(text):
    return text == text[::-1]
