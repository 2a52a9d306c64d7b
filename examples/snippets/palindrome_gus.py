# exercise: palindrome
def solve(text):
    text = text.lower()
    i = 0
    j = len(text) - 1
    while i < j:
        if not text[i].isalnum():
            i = i + 1
        elif not text[j].isalnum():
            j = j - 1
        elif text[i] != text[j]:
            return False
        else:
            i = i + 1
            j = j - 1
    return True
