# exercise: caesar
def solve(text, shift):
    # no way round the end of the alphabet
    return "".join(chr(ord(c) + shift) if c.isalpha() else c for c in text)
