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


def verdict(row: Row) -> str:
    """Return the finding as the end of a sentence."""
    return f"{finding(row)} is better" if winner(row) else finding(row)


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
                known = "" if row["p_value"] is None else f" (p = {p_text(row['p_value'])})"
                but = ", though its mean is the lower one" if winner(row) and "disagree" in row["note"] else ""
                parts.append(f"over {_cells(row['n_pairs'])} {verdict(row)}{known}{but}")
        counts = Counter(winner(row) for row in rows if row["scope"] == "cell")
        if counts:
            parts.append(f"cell by cell {counts[a]} better, {counts[b]} worse, {counts[None]} undecided after Holm")
        lines.append(f"{title(a)} against {title(b)}: {'; '.join(parts)}.")
    return lines


def paper_conclusions(tests: Sequence[Row]) -> list[str]:
    """Return what the paper's printed means say of its sentence (p < 0.05), a line per rival."""
    lines = []
    for b in dict.fromkeys(row["b"] for row in tests):
        rows = [row for row in tests if row["b"] == b]
        parts = []
        for row in rows:
            if row["scope"] in POOLED:
                holds = "holds" if winner(row) == row["a"] else "does not hold"
                ties = f", {row['n_zero']} of them ties" if row["n_zero"] else ""
                parts.append(
                    f"over {scope_text(row)} ({row['n_pairs']}{ties}) it {holds}, p = {p_text(row['p_value'])}"
                )
        least = min(row["min_attainable_p"] for row in rows if row["scope"] == "task" and row["min_attainable_p"])
        parts.append(f"within a task it cannot be decided, since so few cells give no p below {least:.3g}")
        lines.append(f"{title(rows[0]['a'])} against {title(b)}: {'; '.join(parts)}.")
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


FORECAST_NOTE = (
    "Forecasts are of 11 seeds: about, at the cost of the same method on the same task; roughly, guessed from the cost "
    "of other tasks of the same kind. A task without a shipped expert (`bench expert list`) needs `bench expert train` "
    "first."
)
CONTROLS_NOTE = (
    "How much of a score needs no expert: the same method, budget and task, but D stays as it was initialised, or the "
    "reward is a constant; observations are scaled by the agent's own, and no demonstration is looked at. Fractions of "
    "the expert; below them return ± seeds."
)
PAPER_NOTE = (
    "The paper says: a Wilcoxon signed-rank test indicates superior performance with p < 0.05; what was paired is not "
    "said. These are the tests that its printed means allow, with cells as pairs. They are about the trained policies "
    "of that table: on MuJoCo each mean is of one training run, so nothing is said of what another run would give."
)
EXPLAINED = [
    "Every row is a − b: an effect, shift or median above 0 favours a. W: min(W+, W−) two-sided, W+ one-sided; zeros "
    "dropped, mid-ranks for ties; p is exact (all sign flips) up to 50 nonzero pairs, else asymptotic. p, Holm: "
    "two-sided, within comparison and scope.",
    "Effect: matched-pairs rank-biserial correlation, from −1 (b better in every pair) to 1. Shift: Hodges-Lehmann, "
    "with its exact interval from 6 nonzero pairs on. Pairs: seeds in a cell or task; cells in all, continuous and "
    "discrete. A test over cells takes them as independent, although the cells of a task share expert and seeds.",
    "Unequal seeds: a seed that only one of the two has makes no pair, which the note says; it does count in that "
    "method's own means and, over cells, in its cell's mean. Nothing is cut to the fewest seeds.",
]
PICTURES = {
    "interactions": "Environment steps and core-minutes until a run stays at 0.9 of the expert or above, at the "
    "smallest number of trajectories; each point a seed, hollow ones never within their budget",
    "figure5": "MGAIL with the basic and the advanced forward model: return of the deterministic policy against "
    "environment steps; mean over seeds and its 95 % bootstrap interval",
    "trajectories": "Return of the deterministic policy against the number of expert trajectories; mean over seeds and "
    "its 95 % bootstrap interval",
    "steps": "Return of the deterministic policy against environment steps at the smallest number of trajectories; "
    "mean over seeds and its 95 % bootstrap interval",
    "profiles": "Performance profiles: share of runs whose score, as a fraction of the expert, is above a value; cells "
    "weighed alike, 95 % bootstrap interval",
}
