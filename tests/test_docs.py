"""The documents: links lead somewhere, commands are understood, stated defaults are the defaults."""

import doctest
import json
import re
import shlex
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest

from algorithms import gail, mgail_tuned, resolve
from algorithms.bc import BCConfig
from algorithms.gail import GAILConfig
from algorithms.mgail_settings import MGAILConfig
from analysis.load import title as title_of
from analysis.statistics import POOLED, paper_tests
from analysis.wording import finding, number, p_text, scope_text
from bench.cli import parser
from bench.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "REPRODUCTION.md", "TUNING.md", "STATISTICS.md", "CONTRIBUTING.md"]


def text_of(name: str) -> str:
    return re.sub(r"<!--.*?-->", "", (ROOT / name).read_text(), flags=re.S)


def anchors_of(text: str) -> set[str]:
    """Return GitHub's anchors of the headings."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(name: str) -> list[list[str]]:
    """Return the `bench` and `make` command lines in the document's shell blocks and in its running text."""
    text = text_of(name)
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, flags=re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(
        r"`(bench (?:run|analyze|report|expert|dataset|publish|status|evaluate|watch|sweep|sync) [^`]*)`", text
    )
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words[0] in ("bench", "make")]


def text_between(name: str, mark: str) -> list[str]:
    """Return the lines of a document between the comments ``mark:begin`` and ``mark:end``."""
    text = (ROOT / name).read_text()
    return text.split(f"<!-- {mark}:begin -->")[1].split(f"<!-- {mark}:end -->")[0].splitlines()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_lead_somewhere(name):
    text = text_of(name)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for link in links:
        if not link.startswith(("http://", "https://", "mailto:")):
            path, _, anchor = link.partition("#")
            target = ROOT / path if path else ROOT / name
            assert target.exists(), link
            if anchor:
                assert anchor in anchors_of(target.read_text()), link


def test_there_are_commands_to_check():
    assert len(commands_of("README.md")) > 12


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_are_understood(name):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for program, *arguments in commands_of(name):
        if program == "make":
            assert targets.issuperset(arguments), arguments
        elif "name=value" not in arguments:  # a placeholder
            assert callable(parser().parse_args(arguments).function), arguments


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the rows whose first cell is a `setting`, in a section of REPRODUCTION.md."""
    section = re.split(r"^## ", text_of("REPRODUCTION.md"), flags=re.M)
    (body,) = [part for part in section if part.startswith(heading)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return [row for row in rows if re.fullmatch(r"`\w+`", row[0])]


def value_of(cell: str) -> Any:
    """Return what the first code span of a cell stands for: a number, a tuple or a word."""
    (word,) = re.findall(r"`([^`]+)`", cell)[:1]
    return literal_eval(word) if re.match(r"[\d(]|True|False", word) else word


# What a table of settings leaves to the text: the sizes of the budget and what a method's name stands for.
UNSTATED = {"iterations", "num_envs", "steps", "generator", "reward_form", "forward_model", "init_steps"}


@pytest.mark.parametrize(
    ("heading", "config"),
    [("3. Behavioural cloning", BCConfig), ("4. GAIL", GAILConfig), ("5. MGAIL", MGAILConfig)],
)
def test_stated_defaults_are_the_defaults(heading, config):
    rows = rows_of(heading)
    defaults = config().model_dump()
    assert {row[0].strip("`") for row in rows} >= defaults.keys() - UNSTATED
    for name, *_, here in rows:
        assert name.strip("`") in defaults, name
        assert value_of(here) == defaults[name.strip("`")], name


TUNED = {
    "mgail-basic": ("8. MGAIL's tuned settings", mgail_tuned.BASIC_TUNED, set()),
    "mgail-advanced": ("8. MGAIL's tuned settings", mgail_tuned.ADVANCED_TUNED, set()),
    "gail-trpo": ("9. GAIL's tuned settings", gail.TRPO_TUNED, {"reward_form"}),
    "gail-reinforce": ("9. GAIL's tuned settings", gail.REINFORCE_TUNED, {"reward_form", "fisher_samples"}),
}
"""Per method: the section, what it states, and what is stated elsewhere or belongs to the other generator only."""


@pytest.mark.parametrize("method", TUNED)
def test_stated_tuned_settings_are_the_tuned_settings(method):
    heading, tuned, elsewhere = TUNED[method]
    (body,) = [part for part in re.split(r"^## ", text_of("REPRODUCTION.md"), flags=re.M) if part.startswith(heading)]
    lines = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in cells] for cells in lines]
    kind = method.partition("-")[2]
    mine = [row for row in rows if re.fullmatch(rf"`\w+`( \({kind}\))?", row[0])]
    assert header[0] == "setting"
    assert set(header[1:]) == TASKS.keys()
    for column, task in list(enumerate(header))[1:]:
        assert {row[0].split("`")[1] for row in mine} >= tuned[task].keys() - elsewhere
        settings = resolve(method, task)[1].model_dump()
        for row in mine:
            assert value_of(row[column]) == settings[row[0].split("`")[1]], (task, row[0])


def test_the_table_of_tasks_is_the_table_of_tasks():
    lines = text_of("REPRODUCTION.md").splitlines()
    for task in TASKS.values():
        sizes = ", ".join(map(str, task.trajectories))
        row = [task.name, task.env_id, str(task.horizon), sizes, str(task.subsample), task.reward_form]
        assert f"| {' | '.join(row)} |" in lines


def test_the_results_in_the_readme_are_the_committed_ones():
    """Each number is the mean of its entries in results/table1.json over dataset sizes; what was not run says so."""
    block = (ROOT / "README.md").read_text().split("<!-- results:begin -->")[1].split("<!-- results:end -->")[0]
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if "|" in line
    ]
    assert len(rows) >= 4
    cells = json.loads((ROOT / "results" / "table1.json").read_text())["cells"]
    names = {
        "BC": "bc",
        "GAIL-REINFORCE": "gail-reinforce",
        "GAIL-TRPO": "gail-trpo",
        "MGAIL basic": "mgail-basic",
        "MGAIL advanced": "mgail-advanced",
    }
    for row in rows:
        of_task = [cell for cell in cells if cell["task"] == row[0].lower() and cell["n_seeds"]]
        assert row[1] == ", ".join(str(n) for n in sorted({cell["trajectories"] for cell in of_task}))
        for title, shown in zip(header[2:], row[2:], strict=True):
            scores = [cell["normalised"] for cell in of_task if cell["algorithm"] == names[title]]
            assert shown == (f"{sum(scores) / len(scores):.2f}" if scores else "not run"), (row[0], title)


def test_the_scores_without_an_expert_in_the_readme_are_the_committed_ones():
    block = (ROOT / "README.md").read_text().split("<!-- controls:begin -->")[1].split("<!-- controls:end -->")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if "|" in line
    ]
    cells = json.loads((ROOT / "results" / "table1.json").read_text())["cells"]
    scores = {
        (cell["task"], cell["trajectories"], cell["algorithm"]): f"{round(cell['normalised'], 2) + 0:.2f}"
        for cell in cells
        if cell["n_seeds"]
    }
    frozen = {cell[:2] for cell in scores if cell[2].endswith("+frozen")}
    assert {(task.lower(), int(size)) for task, size, *_ in rows} == frozen
    methods = [title.lower().replace(" ", "-") + "+frozen" for title in head[2:]]
    for task, size, *shown in rows:
        assert shown == [scores.get((task.lower(), int(size), method), "–") for method in methods], task


def test_the_worked_examples_of_the_statistics_work():
    text = re.sub(r"^ *```.*$", "", (ROOT / "STATISTICS.md").read_text(), flags=re.M)  # a fence is no output
    examples = doctest.DocTestParser().get_doctest(text, {}, "STATISTICS.md", None, None)
    assert len(examples.examples) > 15
    outcome = doctest.DocTestRunner().run(examples)
    assert outcome.failed == 0


def test_the_papers_sentence_is_re_examined_as_the_tests_say():
    lines = text_between("STATISTICS.md", "paper")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    stated = {(row[0], row[1]): row[2:] for row in rows}
    tests = {(title_of(row["b"]), scope_text(row)): row for row in paper_tests()}
    assert stated.keys() == {key for key in tests if key[0] == "GAIL" or tests[key]["scope"] in POOLED}
    for key, (cells, ties, statistic, p, effect, sentence) in stated.items():
        row = tests[key]
        assert [cells, ties] == [str(row["n_pairs"]), str(row["n_zero"])]
        assert [statistic, p] == [number(row["statistic"], 1), p_text(row["p_value"])]
        assert effect == number(row["effect_rank_biserial"])
        decided = {"MGAIL": "holds", "undecided": "does not hold", "undefined": "no test: all equal"}
        assert sentence == decided.get(finding(row), finding(row))


def test_the_readme_shows_every_film_strip():
    """In the order of the tasks, as `make strips` writes them; and a README is not to be slow."""
    strips = {path.stem: path for path in (ROOT / "results" / "strips").iterdir()}
    shown = re.findall(r"!\[[^\]]*\]\(results/strips/(\w+)\.png\)", text_of("README.md"))
    assert shown == [name for name in TASKS if name in strips]
    assert strips.keys() >= {"cartpole", "mountaincar", "acrobot", "hopper"}
    for path in strips.values():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size <= 100_000, path
    tasks = re.search(r"^TASKS := (.+)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert tasks is not None
    assert tasks[1].split() == list(TASKS)
