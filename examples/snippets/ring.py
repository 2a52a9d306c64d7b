# exercise: caesar
import itertools, string

def solve(text, shift):
    ring = itertools.cycle(string.ascii_lowercase)
    out = ""
    for char in text:
        if char in ring:  # for "X" this looks for ever, inside C, and lets no signal and no thread through
            for _ in range(shift):
                char = next(ring)
        out += char
    return out
