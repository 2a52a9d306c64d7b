# exercise: brackets
def solve(text):
    text = "".join(c for c in text if c in "()[]{}")
    while "()" in text or "[]" in text or "{}" in text:
        text = text.replace("()", "").replace("[]", "").replace("{}", "")
    if text:
        raise ValueError("not balanced: " + text)
    return True
