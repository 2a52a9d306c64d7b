# exercise: wordcount
def solve(text):
    text = text.lower()
    for mark in ".,;:!?":
        text = text.replace(mark, " ")
    words = text.split()
    print("words:", words)
    return {word: words.count(word) for word in words}
