# exercise: caesar
import time

def solve(text, shift):
    out = []
    for c in text:
        time.sleep(0.02)  # "so that one can watch it work"
        if c.isalpha():
            start = ord("a") if c.islower() else ord("A")
            c = chr((ord(c) - start + shift) % 26 + start)
        out.append(c)
    return "".join(out)
