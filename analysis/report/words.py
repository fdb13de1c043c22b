"""What the tests say, in sentences that claim no more than they do."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.load import title
from analysis.statistics import LEVEL, POOLED, Row, winner
from analysis.wording import number, p_text, scope_text, short, task_title, verdict


@dataclass(frozen=True)
class Comparison:
    """One comparison in words.

    Attributes:
        a, b: names of the methods; differences are a - b.
        outcome: which is better over all cells by name, or "undecided" and the like.
        sentences: what the tests say.
        cautions: what is to be known before anything is claimed.
        tests: its rows.
    """

    a: str
    b: str
    outcome: str
    sentences: list[str]
    cautions: list[str]
    tests: list[Row]


def comparisons(tests: Sequence[Row], improvements: Sequence[Row]) -> list[Comparison]:
    """Return every comparison in words, in the order of the tests."""
    found = []
    for a, b in dict.fromkeys((row["a"], row["b"]) for row in tests):
        rows = [row for row in tests if (row["a"], row["b"]) == (a, b)]
        chances = [row for row in improvements if (row["a"], row["b"]) == (a, b)]
        found.append(_comparison(a, b, rows, chances))
    return found


def _comparison(a: str, b: str, rows: list[Row], chances: Sequence[Row]) -> Comparison:
    two_sided = [row for row in rows if row["alternative"] == "two-sided"]
    pooled = {row["scope"]: row for row in two_sided if row["scope"] in POOLED}
    sentences = [_pooled(row, chances) for row in pooled.values()]
    for scope, kind in (("task", "Task by task"), ("cell", "Cell by cell")):
        of_scope = [row for row in two_sided if row["scope"] == scope]
        if of_scope:
            sentences.append(_counted(kind, a, b, of_scope))
    claimed = [row for row in rows if row["alternative"] != "two-sided" and row["scope"] == "all"]
    sentences += [
        f"The paper claims that {title(a)} is better. Asked that one-sided question alone, without correction, the "
        f"test over all cells says p = {p_text(row['p_value'])}: it {_agrees(row)}."
        for row in claimed
        if row["p_value"] is not None
    ]
    # Of many cells with one and the same remark, one is told; all are in the table.
    cautions = [f"{scope_text(row)}: {row['note']}" for row in two_sided if row["note"] and row["scope"] != "cell"]
    remarked = sum(1 for row in two_sided if row["note"] and row["scope"] == "cell")
    if remarked:
        cautions.append(
            f"{remarked} of {sum(row['scope'] == 'cell' for row in two_sided)} cells carry a remark, such as that "
            "their seeds are too few for any result to be decisive; the table of tests has them all."
        )
    outcome = verdict(pooled["all"]) if "all" in pooled else "undefined"
    held = [line.replace(" = ", "\u00a0=\u00a0") for line in sentences]  # no line ends before a number
    return Comparison(a, b, outcome, held, cautions, rows)


def _agrees(claimed: Row) -> str:
    return "agrees" if claimed["p_value"] < LEVEL else "does not agree"


def _pooled(row: Row, chances: Sequence[Row]) -> str:
    """Return the sentence about one pooled scope."""
    count = f"{row['n_pairs']} cell{'s' * (row['n_pairs'] != 1)}"
    where = f"Over all {count}" if row["scope"] == "all" else f"On {row['scope']} actions ({count})"
    best = winner(row)
    p = "" if row["p_holm"] is None else f" (p = {p_text(row['p_holm'])})"
    if best:
        other = row["b"] if best == row["a"] else row["a"]
        but = ", though its mean is the lower one" if "disagree" in row["note"] else ""
        text = f"{where}, {title(best)} scores higher than {title(other)}{p}{but}"
    elif row["p_value"] is None:
        return f"{where}, there is nothing to test."
    else:
        least = row["min_attainable_p"] is not None and row["min_attainable_p"] >= LEVEL
        why = f": even {count} of one sign could not give less than p = {p_text(row['min_attainable_p'])}"
        text = f"{where}, the test cannot tell them apart{p}{why if least else ''}"
    return f"{text}{_size(row)}.{_chance(row, chances)}"


def _size(row: Row) -> str:
    """Return by how much a exceeds b, if that can be said with an interval."""
    if row["shift_low"] is None:
        return ""
    normalised = row["scale"] == "normalised"
    unit = " of the distance from random to expert" if normalised else ""

    def text(value: float) -> str:
        return number(value) if normalised else short(value)

    low, high = text(row["shift_low"]), text(row["shift_high"])
    return (
        f"; {title(row['a'])} − {title(row['b'])} is about {text(row['shift_hodges_lehmann'])}{unit} ({low} to {high})"
    )


def _chance(row: Row, chances: Sequence[Row]) -> str:
    for chance in chances:
        if chance["scope"] == row["scope"]:
            of_hundred = [f"{100 * chance[key]:.0f}" for key in ("probability", "low", "high")]
            return (
                f" A run of {title(row['a'])} beats one of {title(row['b'])} on the same cell "
                f"{of_hundred[0]} times in 100 ({of_hundred[1]} to {of_hundred[2]})."
            )
    return ""


def _counted(kind: str, a: str, b: str, rows: Sequence[Row]) -> str:
    """Return how the single tests of a scope went, after correction."""
    won = Counter(winner(row) for row in rows)
    text = f"{kind}, after Holm's correction: {title(a)} better in {won[a]}, {title(b)} in {won[b]}, "
    text += f"undecided {won[None]} of {len(rows)}"
    decided = {name: [row for row in rows if winner(row) == name] for name in (a, b)}
    if rows[0]["scope"] == "task":
        told = [f"{title(name)} on {_listed(own)}" for name, own in decided.items() if own]
        text += f" ({'; '.join(told)})" if told else ""
    return f"{text}."


def _listed(rows: Sequence[Row]) -> str:
    return ", ".join(task_title(row["task"]) for row in rows)
