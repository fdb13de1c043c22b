"""``bench report``: the page says what the tables say, whatever the results are, and needs nothing but itself."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis import tables
from analysis.committed import read_results
from analysis.document import Document
from analysis.foreign import read_episodes
from analysis.load import RESULTS
from analysis.records import read_runs
from analysis.report import page
from analysis.report.words import comparisons
from analysis.statistics import tests as all_tests
from analysis.wording import number
from bench import cli

HEADER = "algorithm,task,trajectories,seed,episode,return\n"


class Reader(HTMLParser):
    """Reads a page as far as the tests ask: tables by id, attributes by element, text."""

    def __init__(self, content: str):
        super().__init__()
        self.tables: dict[str, list[list[dict[str, str]]]] = {}
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._table: list[list[dict[str, str]]] | None = None
        self._field: dict[str, str] | None = None
        self._raw = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        self._raw = tag if tag in ("script", "style") else ""
        if tag == "table" and "id" in found:
            self._table = self.tables[found["id"]] = []
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table:
            self._field = {**found, "text": ""}
            self._table[-1].append(self._field)

    def handle_endtag(self, tag):
        self._raw = ""
        if tag == "table":
            self._table = None
        elif tag in ("td", "th"):
            self._field = None

    def handle_data(self, data):
        if self._raw:
            return
        self.text += data
        if self._field is not None:
            self._field["text"] += data


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_vega(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making the bundle takes seconds, and only a browser can tell whether it is right."""
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: "/* Vega */")


def rendered(document: Document) -> Reader:
    return Reader(page.render(document, {}).decode())


@pytest.fixture(scope="module")
def committed() -> Document:
    return Document.build(read_results(RESULTS))


@pytest.fixture(scope="module")
def shown(committed: Document) -> Reader:
    """The committed results as their page shows them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vl_convert.javascript_bundle", lambda snippet: "/* Vega */")
        return Reader(page.render(committed, page.read_strips(RESULTS / "strips")).decode())


# --- what it says -----------------------------------------------------------------------------------------------------


def test_every_number_of_table_1_is_the_one_in_the_json(committed: Document, shown: Reader) -> None:
    cells = json.loads(committed.text(["table1"], "json"))["cells"]
    header, *rows = shown.tables["entries"]
    names = [cell["text"].strip() for cell in header]
    keys = {
        **{"n": "trajectories", "seeds": "n_seeds", "mean": "mean", "± seeds": "std_seeds"},
        **{"± episodes": "std_episodes", "normalised": "normalised", "to mean action": "normalised_deterministic"},
        **{"paper": "paper_mean", "± paper": "paper_std", "paper, normalised": "paper_normalised"},
        **{"environment steps": "env_steps", "core time": "core_s"},
    }
    assert set(names) == {"task", "method", "against the paper", "core-hours, all seeds", *keys}
    assert len(rows) == len(cells) > 100
    for row, cell in zip(rows, cells, strict=True):
        field = dict(zip(names, row, strict=True))
        for name, key in keys.items():
            value = cell[key]
            assert field[name].get("data-v") == (None if value is None else str(value)), (name, cell)
        digits = {"mean": 2, "± seeds": 2, "± episodes": 2, "normalised": 3, "paper": 2, "± paper": 2}
        for name, places in digits.items():
            assert field[name]["text"] == number(cell[keys[name]], places)
        standing = (cell["verdict"] or "–") if cell["n_seeds"] else "not run"
        assert field["against the paper"]["text"].startswith(standing)


def test_every_number_of_the_tests_is_the_one_in_the_json(committed: Document, shown: Reader) -> None:
    tests = json.loads(committed.text(["wilcoxon"], "json"))["tests"]
    header, *rows = shown.tables["all-tests"]
    names = [cell["text"].strip() for cell in header]
    keys = {"pairs": "n_pairs", "zeros": "n_zero", "W": "statistic", "p": "p_value", "p, Holm": "p_holm"}
    keys |= {"effect": "effect_rank_biserial", "shift": "shift_hodges_lehmann", "mean a": "mean_a", "mean b": "mean_b"}
    assert len(rows) == len(tests) > 50
    for row, test in zip(rows, tests, strict=True):
        field = dict(zip(names, row, strict=True))
        for name, key in keys.items():
            assert field[name].get("data-v") == (None if test[key] is None else str(test[key])), (name, test)
        assert field["note"]["text"] == test["note"]


def test_every_number_of_the_arrivals_is_the_one_in_the_json(committed: Document, shown: Reader) -> None:
    rows = json.loads(committed.text(["interactions"], "json"))["interactions"]
    header, *lines = shown.tables["arrivals"]
    assert len(lines) == len(rows) > 20
    for line, row in zip(lines, rows, strict=True):
        steps = row["env_steps"]
        assert line[3]["text"] == f"{row['n_arrived']} of {row['n_seeds']}"
        assert line[4].get("data-v") == (None if steps is None else str(steps))
        assert line[4]["text"] == (f"> {number(row['budget_env_steps'], 0)}" if steps is None else number(steps, 0))
        assert line[11].get("data-v") == str(row["score_worst"])
    assert len(header) == 12


def test_says_what_is_missing_and_where_it_comes_from(committed: Document, shown: Reader) -> None:
    text = shown.text
    assert all(line.replace("`", "") in text for line in tables.not_run(committed.cells))
    for digest in committed.results.runs["demonstrations"].unique():
        assert digest in text
    for commit in committed.results.runs["commit"].unique():
        assert commit in text
    for name, digest in json.loads((RESULTS / "provenance.json").read_text())["files"].items():
        assert f"{name}: {digest}" in text


def rows_of(values: dict[str, list[float]], write_run, tmp_path: Path) -> Document:
    """Return a document of runs on hopper, a seed per value; the expert's return is 100, the random policy's 0."""
    for algorithm, returns in values.items():
        for seed, value in enumerate(returns):
            write_run(algorithm, "hopper", 4, seed, [value] * 50, curve=[value / 2])
    return Document.build(read_runs([tmp_path / "runs"]))


def test_words_of_pooled_tests(committed: Document) -> None:
    told = {each.b: each for each in comparisons(committed.tests, committed.improvements)}
    for row in committed.tests:
        if row["scope"] == "all" and row["alternative"] == "two-sided":
            first = told[row["b"]].sentences[0]
            assert first.startswith(f"Over all {row['n_pairs']} cells, ")
            decided = row["p_holm"] < 0.05
            assert ("scores higher than" in first) == decided
            assert ("cannot tell them apart" in first) == (not decided)
            assert f"{number(row['shift_low'])} to {number(row['shift_high'])}" in first
    assert all_tests(committed.results, []) == []
    assert comparisons([], []) == []


# --- one file, for everybody's results --------------------------------------------------------------------------------


def test_same_bytes_in_another_process_without_torch(committed: Document, tmp_path: Path) -> None:
    out = tmp_path / "again.html"
    code = f"import sys; from bench.cli import main; main(['report', '--results', '--out', {str(out)!r}]); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print(*sys.modules)"],
        cwd=RESULTS.parent,
        env={"PYTHONHASHSEED": "12345", "PATH": "", "PYTHONPATH": str(RESULTS.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "gymnasium", "mujoco", "wandb", "matplotlib"} & set(done.stdout.split())
    written = out.read_bytes()
    assert written == page.render(committed, page.read_strips(RESULTS / "strips"))
    assert 1e6 < len(written) < 6e6


def test_asks_for_nothing_outside(shown: Reader) -> None:
    references = [
        attributes[name] for _, attributes in shown.elements for name in ("src", "href") if name in attributes
    ]
    assert all(reference.startswith(("#", "data:")) for reference in references)
    assert sum(tag == "img" for tag, _ in shown.elements) == len(list((RESULTS / "strips").iterdir())) >= 4
    identifiers = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {reference[1:] for reference in references if reference.startswith("#")} <= set(identifiers)
    (policy,) = [a["content"] for tag, a in shown.elements if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


@pytest.mark.usefixtures("without_vega")
def test_names_are_text_whatever_they_are() -> None:
    nasty = "</script><img src=x onerror=alert(1)>"
    lines = [f'"{nasty}","a ""task"" & {{{{more}}}}",1,{seed},0,{seed}.5' for seed in range(3)]
    lines += [f'plain,"a ""task"" & {{{{more}}}}",1,{seed},0,{seed}.25' for seed in range(3)]
    Path("theirs.csv").write_text(HEADER + "\n".join(lines) + "\n")
    document = Document.build(read_episodes(Path("theirs.csv")))
    content = page.render(document, {}).decode()
    read = Reader(content)
    assert nasty in read.text
    assert 'a "task" & {{more}}' in read.text
    assert not any(tag == "img" for tag, _ in read.elements)
    specs = json.loads(re.findall(r'id="specs">(.*?)</script>', content, flags=re.S)[0])
    assert any(nasty in json.dumps(spec) for spec in specs.values())


@pytest.mark.usefixtures("without_vega")
@pytest.mark.parametrize("values", [{"mgail-basic": [50.0]}, {"bc": [10.0, 20.0], "mgail-advanced": [1.0]}], ids=len)
def test_few_runs_make_a_page_too(values, write_run, tmp_path: Path) -> None:
    text = rendered(rows_of(values, write_run, tmp_path)).text
    assert f"{len(values)} of 155" in text
    assert ("No two methods that are to be compared have runs." in text) == (len(values) == 1)
    assert ("missing: " in text) == (len(values) == 2)  # a seed that only one of two has is told of


@pytest.mark.usefixtures("without_vega")
def test_bias_controls_have_a_table_of_their_own(write_run, tmp_path: Path) -> None:
    """They are neither a column of Table 1 nor a method of the charts."""
    write_run("gail-trpo", "hopper", 4, 0, [90.0] * 50, curve=[95.0])
    write_run("gail-trpo", "hopper", 4, 0, [60.0] * 50, label="plus", curve=[50.0])
    write_run("gail-trpo", "hopper", 4, 0, [80.0] * 50, label="long", curve=[70.0])
    read = rendered(Document.build(read_runs([tmp_path / "runs"])))
    heads = [field["text"].strip() for field in read.tables["overview"][0]]
    assert heads[4:6] == ["GAIL-TRPO", "GAIL-TRPO, long"]
    assert not any("reward" in head for head in heads)
    assert "Without an expert" in read.text
    assert any(line[2]["text"] == "GAIL-TRPO, constant reward +1" for line in read.tables["entries"][1:])
    ticked = [attributes["data-method"] for _, attributes in read.elements if "data-method" in attributes]
    assert "gail-trpo+long" in ticked
    assert ticked.count("gail-trpo+plus") == 1  # as a row of the entries


@pytest.mark.usefixtures("without_vega")
def test_smoke_runs_are_called_so(write_run, tmp_path: Path) -> None:
    write_run("bc", "hopper", 4, 0, [1.0] * 5)
    read = rendered(Document.build(read_runs([tmp_path / "runs"])))
    assert read.text.count("(all smoke runs, which are no results)") >= 2


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_vega")
def test_command_writes_one_file(write_run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows_of({"bc": [10.0, 20.0]}, write_run, tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "hopper-bc.png").write_bytes((RESULTS / "strips" / "hopper.png").read_bytes())
    assert cli.main(["report", "--strips", "mine", "--out", "pages/mine.html"]) == 0
    assert "In pages/mine.html" in capsys.readouterr().out
    assert [path.name for path in Path("pages").iterdir()] == ["mine.html"]
    content = Path("pages/mine.html").read_text()
    assert content.count("data:image/png") == 1
    assert "Frames of an episode of Hopper, bc" in content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runs", "nowhere"], "nowhere"),
        (["--episodes", "nowhere.csv"], "cannot read nowhere.csv"),
        (["--episodes", "few.csv", "--strips", "nowhere"], "nowhere holds no film strips"),
        (["--episodes", "few.csv", "--compare", "a:nobody"], "unknown algorithm 'nobody'"),
        (["--episodes", "few.csv", "--out", "file/report.html"], "cannot write into file"),
    ],
)
@pytest.mark.usefixtures("without_vega")
def test_bad_input_is_one_line(arguments, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    Path("few.csv").write_text(HEADER + "a,t,1,0,0,5\nb,t,1,0,0,6\n")
    assert cli.main(["report", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert not list(Path().glob("*.html*"))
