# exercise: roman
TABLE = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
         (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]

def solve(n):
    text = ""
    for value, letters in TABLE:
        while n >= value:
            text += letters
            n -= value
    return text
