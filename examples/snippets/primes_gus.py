# exercise: primes
def solve(n):
    # 1 is a prime, is it not?
    return [i for i in range(1, n + 1) if all(i % j for j in range(2, int(i ** 0.5) + 1))]
