# exercise: primes
def solve(n):
    primes = []
    for i in range(2, n):
        print("looking at", i)
        for p in primes:
            print("   dividing by", p)
            if i % p == 0:
                break
        else:
            print("   found", i)
            primes.append(i)
    return primes
