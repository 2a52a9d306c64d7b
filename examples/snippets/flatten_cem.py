# exercise: flatten
def solve(nested):
    flat = []
    for item in nested:
        if isinstance(item, list):
            flat.extend(solve(item))
        else:
            flat.append(item)
    return flat
