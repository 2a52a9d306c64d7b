# exercise: wordcount
from collections import Counter
import re

def solve(text):
    return dict(Counter(re.findall(r"[a-z']+", text.lower())))
