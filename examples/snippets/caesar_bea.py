# exercise: caesar
def solve(text, shift):
    out = ""
    for c in text:
        if c.islower():
            out += chr((ord(c) - 97 + shift) % 26 + 97)
        elif c.isupper():
            out += chr((ord(c) - 65 + shift) % 26 + 65)
        else:
            out += c
    return out
