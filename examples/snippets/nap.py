# exercise: digits
import time

def solve(n):
    # waits for a better idea
    while True:
        time.sleep(3600)
