"""The rows of Table 1 and of the tests as grids for `analysis.markup`, and the notes that belong below them."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from analysis.forecast import SEEDS
from analysis.load import CONTROLS, METHODS, Results, algorithm_order, control_of, title
from analysis.markup import Column, Field, Grid, Text, changes
from analysis.statistics import POOLED, Row
from analysis.table1 import command, told_settings
from analysis.wording import duration, finding, number, p_text, scope_text, short, task_title
from bench.tasks import TASKS

MARKS = {"better": "▲", "worse": "▼", "undecided": "", None: ""}
GAP = "\u2002\u2002"  # en spaces, which no format swallows
# A policy that falls over ends the episode of these tasks, so that staying alive is worth something by itself.
ENDS_EARLY = ("cartpole", "hopper", "walker2d", "ant", "humanoid")


def overview(cells: Sequence[Row]) -> Grid:
    """Return Table 1 as people know it: a row per cell, a column per method, ours above the paper's."""
    shown = [row for row in cells if control_of(row["algorithm"]) is None]
    algorithms = sorted({row["algorithm"] for row in shown}, key=algorithm_order)
    rows: list[list[Field]] = []
    rules = set()
    for task, of_task in groupby(shown, key=lambda row: row["task"]):
        rules.add(len(rows))
        for i, (n, of_cell) in enumerate(groupby(of_task, key=lambda row: row["trajectories"])):
            by_algorithm = {row["algorithm"]: row for row in of_cell}
            fields = [entry(by_algorithm[name]) if name in by_algorithm else Text("") for name in algorithms]
            rows.append([Text(task_title(task)) if i == 0 else Text(""), Text(str(n)), *fields])
    columns = [Column("task", "left"), Column("n"), *(Column(title(name)) for name in algorithms)]
    return Grid(columns, rows, frozenset(rules))


def entry(row: Row) -> Text:
    """Return one entry of the overview: ours, return ±seeds and fraction of the expert; below it the paper's."""
    paper = "" if row["paper_mean"] is None else short(row["paper_mean"])
    if not row["n_seeds"]:
        return Text(f"{standing(row)} ({paper})" if paper else standing(row))
    score, fraction = (
        "" if row[key] is None else f"{GAP}{number(row[key])}" for key in ("normalised", "paper_normalised")
    )
    marks = ("" if row["budget"] is None else "†") + ("‡" if flagged(row) else "") + MARKS[row["verdict"]]
    text = f"{short(row['mean'], row['std_seeds'])}{score}{marks}"
    return Text(text, row["bold"], f"paper {paper}{fraction}" if paper else "")


def standing(row: Row) -> str:
    """Return why an entry has no number: not run, or what became of its runs."""
    kinds = (row["flags"] or "").split()
    return next((kind for kind in ("failed", "corrupt", "unfinished") if kind in kinds), "not run")


def flagged(row: Row) -> bool:
    """Return whether the list of problems has something on this entry that no heading says already."""
    return not {"unequal", "tuning"}.issuperset((row["flags"] or "").split())


def entries_grid(cells: Sequence[Row]) -> Grid:
    """Return every number of every entry, one row each, run or not."""
    columns = [
        *(Column("task", "left"), Column("n"), Column("method", "left"), Column("seeds"), Column("mean")),
        *(Column("± seeds"), Column("± episodes"), Column("normalised"), Column("to mean action")),
        *(Column("paper"), Column("± paper"), Column("paper, normalised"), Column("against the paper", "left")),
        *(Column("environment steps"), Column("core time"), Column("core-hours, all seeds")),
    ]
    rows: list[list[Field]] = []
    for row in cells:
        numbers = [number(row[key]) for key in ("mean", "std_seeds", "std_episodes")]
        scores = [number(row[key], 3) for key in ("normalised", "normalised_deterministic")]
        paper = [number(row["paper_mean"]), number(row["paper_std"]), number(row["paper_normalised"], 3)]
        costs = [number(row["env_steps"], 0) + ("" if row["budget"] is None else "†"), duration(row["core_s"])]
        names: list[Field] = [
            task_title(row["task"]),
            str(row["trajectories"]),
            Text(title(row["algorithm"]), row["bold"]),
        ]
        seeds = f"{row['n_seeds']}{'‡' if flagged(row) else ''}"
        rows.append([*names, seeds, *numbers, *scores, *paper, _verdict(row), *costs, core_hours(row)])
    return Grid(columns, rows, changes((row["task"], row["trajectories"]) for row in cells))


def _verdict(row: Row) -> str:
    """Return the verdict against the paper in words, with its p-value."""
    if not row["n_seeds"]:
        return standing(row)
    known = "" if row["verdict_p"] is None else f", p = {p_text(row['verdict_p'])}"
    return (row["verdict"] or "–") + known


def hours(row: Row) -> float | None:
    """Return the core-hours that all seeds of an entry took; of one not run, the forecast."""
    seconds = row["forecast_core_s"]
    if row["n_seeds"]:
        seconds = None if row["core_s"] is None else row["n_seeds"] * row["core_s"]
    return None if seconds is None else seconds / 3600


def core_hours(row: Row) -> str:
    """Return what all seeds of an entry took, or will take."""
    known = hours(row)
    if row["n_seeds"]:
        return number(known, 3)
    return "–" if known is None else f"≈ {number(known)}"


def controls_grid(cells: Sequence[Row]) -> Grid | None:
    """Return how far methods get without demonstrations, beside the same entries with them; None if none was run."""
    run = {(row["task"], row["trajectories"], row["algorithm"]): row for row in cells if row["n_seeds"]}
    keys = [(task, n, name.partition("+")[0]) for task, n, name in run if control_of(name)]
    columns = [Column("task", "left"), Column("n"), Column("method", "left"), Column("with demonstrations")]
    columns += [Column(text) for text in CONTROLS.values()]
    rows: list[list[Field]] = []
    for task, n, method in dict.fromkeys(keys):
        fields = [run.get((task, n, name)) for name in (method, *(f"{method}+{label}" for label in CONTROLS))]
        scores = [Text("–") if row is None else _score(row) for row in fields]
        rows.append([task_title(task), str(n), title(method), *scores])
    return Grid(columns, rows, changes(row[0] for row in rows)) if rows else None


def _score(row: Row) -> Text:
    """Return an entry's fraction of the expert, below it return ±seeds and how many they are."""
    seeds = f"{row['n_seeds']} seed{'s' * (row['n_seeds'] != 1)}"
    return Text(number(row["normalised"]), False, f"{short(row['mean'], row['std_seeds'])}, {seeds}")


def tests_grid(tests: Sequence[Row]) -> Grid:
    """Return the rows of tests, one line each."""
    columns = [
        *(Column("a", "left"), Column("b", "left"), Column("over", "left"), Column("pairs"), Column("zeros")),
        *(Column("W"), Column("p"), Column("p, Holm"), Column("effect"), Column("shift"), Column("95 % interval")),
        *(Column("mean a"), Column("mean b"), Column("median a − b"), Column("scale", "left")),
        *(Column("better", "left"), Column("note", "left", wrap=True)),
    ]
    rows: list[list[Field]] = []
    for row in tests:
        digits = 3 if row["scale"] == "normalised" else 2
        two_sided = row["alternative"] == "two-sided"
        rows.append(
            [
                title(row["a"]),
                title(row["b"]),
                scope_text(row) + ("" if two_sided else ", one-sided a > b"),
                str(row["n_pairs"]),
                str(row["n_zero"]),
                number(row["statistic"], 1),
                p_text(row["p_value"]),
                p_text(row["p_holm"]),
                number(row["effect_rank_biserial"]),
                number(row["shift_hodges_lehmann"], digits),
                interval(row, digits),
                number(row["mean_a"], digits),
                number(row["mean_b"], digits),
                number(row["median_difference"], digits),
                row["scale"],
                finding(row) if two_sided else "",
                row["note"],
            ]
        )
    groups = ((row["a"], row["b"], row["alternative"], row["scope"] in POOLED) for row in tests)
    return Grid(columns, rows, changes(groups))


def interval(row: Row, digits: int) -> str:
    """Return the interval of a row's shift, or a dash."""
    low, high = row["shift_low"], row["shift_high"]
    return "–" if low is None else f"[{number(low, digits)}, {number(high, digits)}]"


def aggregates_grid(aggregates: Sequence[Row]) -> Grid:
    """Return the interquartile means, a row per scope and method."""
    columns = [Column("over", "left"), Column("method", "left"), Column("cells"), Column("runs")]
    columns += [Column("interquartile mean"), Column("95 % interval"), Column("mean")]
    rows: list[list[Field]] = [
        [
            scope_text(row),
            title(row["algorithm"]),
            str(row["n_cells"]),
            str(row["n_runs"]),
            number(row["iqm"], 3),
            f"[{number(row['iqm_low'], 3)}, {number(row['iqm_high'], 3)}]",
            number(row["mean"], 3),
        ]
        for row in aggregates
    ]
    return Grid(columns, rows, changes(row["scope"] for row in aggregates))


def improvements_grid(improvements: Sequence[Row]) -> Grid:
    """Return the probabilities of improvement, a row per comparison and scope."""
    columns = [Column("a", "left"), Column("b", "left"), Column("over", "left"), Column("cells")]
    columns += [Column("P(a > b)"), Column("95 % interval")]
    rows: list[list[Field]] = [
        [
            title(row["a"]),
            title(row["b"]),
            scope_text(row),
            str(row["n_cells"]),
            number(row["probability"]),
            f"[{number(row['low'])}, {number(row['high'])}]",
        ]
        for row in improvements
    ]
    return Grid(columns, rows, changes((row["a"], row["b"]) for row in improvements))


def not_run(cells: Sequence[Row]) -> list[str]:
    """Return a line per task and set of missing methods: the command that runs them, and what it will take if known."""
    missing: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in cells:
        if row["command"]:
            missing[row["task"], row["trajectories"]].append(row)
    alike: dict[tuple[tuple[str, ...], tuple[int, ...]], list[Row]] = defaultdict(list)
    for task in dict.fromkeys(task for task, _ in missing):
        of_task = [rows for (name, _), rows in missing.items() if name == task]
        for methods in dict.fromkeys(_methods(rows) for rows in of_task):
            rows = [row for of_cell in of_task if _methods(of_cell) == methods for row in of_cell]
            sizes = tuple(dict.fromkeys(row["trajectories"] for row in rows))
            alike[methods, () if sizes == TASKS[task].trajectories else sizes] += rows
    return [_command_line(methods, sizes, rows) for (methods, sizes), rows in alike.items()]


def _methods(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row["algorithm"] for row in rows)


def _command_line(methods: Sequence[str], sizes: Sequence[int], rows: Sequence[Row]) -> str:
    """Return one command for entries of the same methods and sizes, and its forecast."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    known = [row for row in rows if row["forecast_core_s"] is not None]
    hours = sum(row["forecast_core_s"] for row in known) / 3600
    guessed = any(row["forecast_basis"] == "guessed" for row in known)
    cost = f"{'roughly' if guessed else 'about'} {number(hours, 1)} core-hours" if known else "cost not yet measured"
    return f"`{command([] if len(methods) == len(METHODS) else methods, tasks, sizes)}` ({cost})"


def fewer_seeds(cells: Sequence[Row]) -> str:
    """Name the cells whose entries have fewer seeds than a test over all cells needs: "Hopper n=4 (5)"."""
    counts: dict[tuple[str, int], set[int]] = defaultdict(set)
    for row in cells:
        if row["algorithm"] in METHODS and 0 < row["n_seeds"] < SEEDS:
            counts[row["task"], row["trajectories"]].add(row["n_seeds"])
    found = counts.items()
    return ", ".join(f"{task_title(task)} n={n} ({', '.join(map(str, sorted(k)))})" for (task, n), k in found)


def notes(cells: Sequence[Row], results: Results) -> list[str]:
    """Return what is to be known to read Table 1 rightly."""
    lines = [
        "n: number of expert trajectories. Mean: over seeds, each seed's mean over its episodes. ±, or ± seeds: "
        "standard deviation of the seeds' means (ddof 1; none for one seed). ± episodes: of all episodes pooled (ddof "
        "0).",
        "Bold: better than every other method of its cell (Wilcoxon signed-rank over seeds, two-sided, Holm p < 0.05 "
        "over the cells of each pair of methods).",
    ]
    if any(row["normalised"] is not None for row in cells):
        lines.append(
            "Normalised, the last number of an entry: (return − random) / (expert − random), with the stochastic "
            "return of the policy behind the demonstrations; `to mean action`: the same against that policy acting "
            "deterministically, as the learned policies do."
        )
    if any(row["paper_normalised"] is not None for row in cells):
        lines.append(
            "Against the paper (▲ better, ▼ worse): today's tasks are not those of 2016, so fractions of the "
            "respective expert are compared, ours by seed, the paper's as a fixed number above the random policy "
            "measured "
            "here; signed-rank test, Holm p < 0.05 within a method; with fewer than 6 seeds it is undecided."
        )
    if any(row["paper_mean"] is not None for row in cells):
        lines.append("The paper's return stands below an entry, or in brackets where the entry was not run.")
    if any(flagged(row) for row in cells):
        lines.append("‡ See the list of what is left out, missing or uneven.")
    if results.foreign:
        return lines
    if few := fewer_seeds(cells):
        lines.append(f"Fewer than {SEEDS} seeds, too few for Holm's level over all 31 cells: {few}.")
    if any(row["budget"] is not None for row in cells):
        lines.append("† Fewer environment steps than Ho & Ermon's budget, which the paper's GAIL had.")
    forms = {form: [t.title for t in TASKS.values() if t.reward_form == form] for form in ("positive", "negative")}
    ending = [TASKS[name].title for name in ENDS_EARLY]
    lines += [
        f"The sign of GAIL's reward tells something of the task: −log D ≥ 0 pays for staying alive "
        f"({', '.join(forms['positive'])}), log(1 − D) ≤ 0 pays for ending ({', '.join(forms['negative'])}). Where an "
        f"episode ends early ({', '.join(ending)}), part of a score may so need no demonstration at all.",
    ]
    told = [f"{title(name)}: {settings}" for name, settings in told_settings(results).items() if name in METHODS]
    if told:
        lines.append("Settings of " + "; ".join(told) + ".")
    return lines
