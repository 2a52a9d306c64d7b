# exercise: fizzbuzz
def solve(n):
    # starts at 0
    result = []
    for i in range(n):
        if i % 15 == 0:
            result.append("FizzBuzz")
        elif i % 5 == 0:
            result.append("Buzz")
        elif i % 3 == 0:
            result.append("Fizz")
        else:
            result.append(str(i))
    return result
