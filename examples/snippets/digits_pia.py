# exercise: digits
def solve(n):
    try:
        return sum(map(int, str(n)))
    except:
        return 0
