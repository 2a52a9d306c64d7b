# exercise: transpose
def solve(rows):
    columns = []
    for i in range(len(rows[0])):
        columns.append([])
        for row in rows:
            columns[i].append(row[i])
    return columns
