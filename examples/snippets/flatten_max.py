# exercise: flatten
def solve(nested, flat=[]):
    # the list is made once, so the second call still has the first one's items
    for item in nested:
        if type(item) is list:
            solve(item, flat)
        else:
            flat.append(item)
    return flat
