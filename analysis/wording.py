"""How numbers and findings are put into words: one place, so that every format says the same."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from analysis.load import Problem
from analysis.statistics import POOLED, Row, title, winner
from bench.tasks import TASKS


def number(value: float | None, digits: int = 2) -> str:
    """Write a number with thousands separated, or an en dash for None."""
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}"
    return f"−{text[1:]}" if text.startswith("-") and text.strip("-0.,") else text.lstrip("-")


def short(value: float | None) -> str:
    """Write a return in about four digits."""
    size = abs(value or 0.0)
    return number(value, 0 if size >= 1000 else 1 if size >= 100 else 2)


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
        return f"{row['scope']} cells"
    if row["scope"] == "task":
        return task_title(row["task"])
    return f"{task_title(row['task'])}, n={row['trajectories']}"


def finding(row: Row) -> str:
    """Return what a two-sided row decides, in words."""
    best = winner(row)
    return f"{title(best)} is better" if best else "undefined" if row["p_value"] is None else "undecided"


def conclusions(tests: Sequence[Row]) -> list[str]:
    """Return a line per comparison: what the pooled tests say, and how its cells went."""
    lines = []
    for a, b in dict.fromkeys((row["a"], row["b"]) for row in tests):
        rows = [row for row in tests if (row["a"], row["b"]) == (a, b) and row["alternative"] == "two-sided"]
        parts = []
        for row in rows:
            if row["scope"] == "all":
                parts.append(f"over {row['n_pairs']} cells {finding(row)} (p = {p_text(row['p_value'])})")
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
