"""How numbers and findings are put into words: one place, so that every format says the same."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from analysis.load import Problem, title
from analysis.statistics import POOLED, Row, winner
from bench.tasks import TASKS


def number(value: float | None, digits: int = 2) -> str:
    """Write a number with thousands separated, or an en dash for None."""
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}"
    return f"−{text[1:]}" if text.startswith("-") and text.strip("-0.,") else text.lstrip("-")


def short(value: float, spread: float | None = None) -> str:
    """Write a return in about four digits, with its spread in as many places."""
    digits = 0 if abs(value) >= 1000 else 1
    return number(value, digits) + ("" if spread is None else f" ±{number(spread, digits)}")


def p_text(value: float | None) -> str:
    """Write a p-value: three digits, small ones with an exponent."""
    if value is None:
        return "–"
    return f"{value:.1e}" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """Write a time: 12 s, 3.4 min, 5.6 h."""
    if seconds is None:
        return "–"
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def task_title(name: str) -> str:
    """Return the name under which a task is printed."""
    return TASKS[name].title if name in TASKS else name


def scope_text(row: Row) -> str:
    """Name what a test is about."""
    if row["scope"] == "all":
        return "all cells"
    if row["scope"] in POOLED:
        return str(row["scope"])
    if row["scope"] == "task":
        return task_title(row["task"])
    return f"{task_title(row['task'])}, n={row['trajectories']}"


def finding(row: Row) -> str:
    """Return which of the two a two-sided row finds better, or why neither."""
    best = winner(row)
    if best:
        return title(best)
    return next((word for word in ("undefined", "undecidable") if row["note"].startswith(word)), "undecided")


def _cells(count: int) -> str:
    return "the only cell" if count == 1 else f"all {count} cells"


def conclusions(tests: Sequence[Row]) -> list[str]:
    """Return a line per comparison: what the pooled tests say, and how its cells went."""
    lines = []
    for a, b in dict.fromkeys((row["a"], row["b"]) for row in tests):
        rows = [row for row in tests if (row["a"], row["b"]) == (a, b) and row["alternative"] == "two-sided"]
        parts = []
        for row in rows:
            if row["scope"] == "all":
                better = f"{finding(row)} is better" if winner(row) else finding(row)
                known = "" if row["p_value"] is None else f" (p = {p_text(row['p_value'])})"
                parts.append(f"over {_cells(row['n_pairs'])} {better}{known}")
        counts = Counter(winner(row) for row in rows if row["scope"] == "cell")
        if counts:
            parts.append(f"cell by cell {counts[a]} better, {counts[b]} worse, {counts[None]} undecided after Holm")
        lines.append(f"{title(a)} against {title(b)}: {'; '.join(parts)}.")
    return lines


def grouped(problems: Sequence[Problem], limit: int = 6) -> list[str]:
    """Return problems as lines; of many alike, the first few and a count."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for problem in problems:
        alike[problem.kind, problem.what].append(problem.where)
    lines = []
    for (kind, what), places in alike.items():
        where = "; ".join(places[:limit]) + (f"; and {len(places) - limit} more" if len(places) > limit else "")
        lines.append(f"{kind}: {where}: {what}")
    return lines
