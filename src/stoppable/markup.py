"""A table as HTML, for notebooks. It knows nothing of pools, and lets no text of a task become markup."""

from collections.abc import Iterable, Sequence


def table(caption: str, rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    """Return a table with *caption* above it; the first cell of each row names it if there are no *heads*."""
    from html import escape  # two milliseconds, and only notebooks want it

    lines = ["<table>", f"<caption>{escape(caption)}</caption>"]
    if heads:
        lines.append(f"<tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>")
    for row in rows:
        cells = [f"<td>{escape(str(cell))}</td>" for cell in row]
        if not heads:
            cells[0] = f"<th>{escape(str(row[0]))}</th>"
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines.append("</table>")
    return "\n".join(lines)


def part(progress: tuple[float, float | None] | None) -> str:
    """Return how far something is, as text; "" if it does not say."""
    if progress is None:
        return ""
    done, total = progress
    return f"{done:g}" if total is None else f"{done:g} of {total:g}"
