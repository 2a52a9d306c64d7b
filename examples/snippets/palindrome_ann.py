# exercise: palindrome
def solve(text):
    letters = [c for c in text.lower() if c.isalnum()]
    return letters == letters[::-1]
