"""The charts of a page, each under the name by which the page refers to it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from analysis.document import Document
from analysis.load import title
from analysis.report import charts, series, summaries
from analysis.report.looks import Methods, Spec
from analysis.statistics import POOLED, Row
from analysis.wording import number, scope_text, short, task_title

LOOK_AT = 0.9  # of a performance profile, what is read out


class Panels:
    """The charts of the page: each is kept under a name, which the page refers to."""

    def __init__(self, document: Document, methods: Methods, sizes: Mapping[str, Sequence[int]]):
        """Start with no chart.

        Args:
            document: all numbers.
            methods: the methods that charts show.
            sizes: each task's numbers of trajectories.
        """
        self.specs: dict[str, Spec] = {}
        self._document, self._methods, self._sizes = document, methods, sizes
        self._known = series.references(document.results)

    def _by_task(self, rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
        """Yield the rows of the methods shown, task by task."""
        shown = [row for row in rows if row["algorithm"] in self._methods.names]
        for task, group in groupby(shown, key=lambda row: str(row["task"])):
            yield task, list(group)

    def _add(self, name: str, spec: Spec) -> dict[str, Any]:
        self.specs[name] = spec
        return {"chart": name, "description": spec["description"]}

    def curves(self) -> list[dict[str, Any]]:
        """Add return against environment steps, a panel per task."""
        panels = []
        for task, rows in self._by_task(series.learning_curves(self._document.results)):
            sizes, known = self._sizes[task], self._known.get(task)
            run = {row["trajectories"] for row in rows}
            points = charts.curve_rows(rows, sizes, self._methods, known)
            said = [
                f"{title(row['algorithm'])} from {short(row['mean'][0])} to {short(row['mean'][-1])} "
                f"in {number(row['env_steps'][-1], 0)} steps"
                for row in rows
                if row["trajectories"] == min(run) and row["env_steps"][-1]
            ]
            text = f"{task_title(task)}, {min(run)} expert trajectories: {'; '.join(said)}."
            panel = self._add(f"curves-{task}", charts.curves(points, self._methods, known, text))
            panels.append(
                {"task": task, "captions": [f"n = {n}" if n in run else f"n = {n}: not run" for n in sizes], **panel}
            )
        return panels

    def sizes(self) -> list[dict[str, Any]]:
        """Add return against the number of expert trajectories, a panel per task that has any run."""
        panels = []
        cells = dict(self._by_task(self._document.cells))
        for task, rows in self._by_task(series.final_scores(self._document.results)):
            said = [
                f"{title(name)} " + ", ".join(f"{short(row['return'])} at n={row['trajectories']}" for row in own)
                for name in self._methods.names
                if (own := [row for row in rows if row["algorithm"] == name])
            ]
            text = f"{task_title(task)}, final return: {'; '.join(said)}."
            spec = charts.sizes(rows, cells[task], self._methods, self._known.get(task), text)
            panels.append({"task": task, **self._add(f"sizes-{task}", spec)})
        return panels

    def costs(self) -> dict[str, Any] | None:
        """Add score against cost, where scores and costs are known."""
        rows = [row for _, of_task in self._by_task(self._document.cells) for row in of_task]
        if not any(row["normalised"] is not None and row["core_s"] for row in rows):
            return None
        text = "Normalised score of every entry against what a run of it cost; the table below has the numbers."
        return self._add("costs", summaries.costs(rows, self._methods, text))

    def effects(self, tests: Sequence[Row]) -> dict[str, Any]:
        """Add the effects of one comparison."""
        rows = [row for row in tests if row["alternative"] == "two-sided"]
        a, b = rows[0]["a"], rows[0]["b"]
        text = (
            f"Effects of {title(a)} against {title(b)}, by cell, task and pooled; the table of tests has the numbers."
        )
        return self._add(f"effects-{a}-{b}", summaries.effects(rows, self._methods, text))

    def aggregates(self) -> list[dict[str, Any]]:
        """Add the interquartile means, a chart per pooled scope."""
        found = []
        for scope in POOLED:
            rows = [row for row in self._document.aggregates if row["scope"] == scope]
            if rows:
                said = [f"{title(row['algorithm'])} {number(row['iqm'], 3)}" for row in rows]
                text = f"Interquartile mean of normalised scores, {scope_text(rows[0])}: {', '.join(said)}."
                chart = self._add(f"aggregates-{scope}", summaries.aggregates(rows, self._methods, text))
                found.append({"scope": scope_text(rows[0]), "cells": rows[0]["n_cells"], **chart})
        return found

    def profiles(self) -> list[dict[str, Any]]:
        """Add the performance profiles, a chart per pooled scope."""
        found = []
        for scope in POOLED:
            rows = [row for row in self._document.figures["profiles"] if row["scope"] == scope]
            if rows:
                half = [
                    f"{title(row['algorithm'])} {number(100 * share, 0)} %"
                    for row in rows
                    for tau, share in zip(row["tau"], row["share"], strict=True)
                    if tau == LOOK_AT
                ]
                text = f"{scope_text(rows[0])}: share of runs with a score above {LOOK_AT}: {', '.join(half)}."
                chart = self._add(f"profiles-{scope}", summaries.profiles(rows, self._methods, text))
                found.append({"scope": scope_text(rows[0]), "cells": rows[0]["n_cells"], **chart})
        return found
