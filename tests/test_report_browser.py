"""``bench report`` in a real browser: it draws, sorts, filters and tells, by mouse and by keyboard, and never errs.

Needs Chromium: what MGAIL_BENCH_BROWSER names, which then has to work, or else one that is found.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import cli

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser: playwright is not installed")
NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 60_000  # a busy machine is no fault of the page
sync_api.expect.set_options(timeout=PATIENCE_MS)
# No display, no sandbox of its own (it may run as root), and no talk with anybody.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("MGAIL_BENCH_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert cli.main(["report", "--results", "--out", str(out)]) == 0
    return out


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What a page complains of, or asks for; at the end of every test there is nothing."""
    told: list[str] = []
    yield told
    assert told == []


@pytest.fixture
def opened(browser: Any, complaints: list[str]) -> Iterator[Any]:
    """Opens a file as the reader would, with a browser of the given kind (``color_scheme``, ``viewport``)."""
    contexts = []

    def open_(path: Path, width: int = 1280, **kind: Any) -> Any:
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900}, **kind)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()


def draw_all(page: Any) -> int:
    """Draw every chart, as for print, and return how many there are."""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    sync_api.expect(page.locator(".chart:not([data-drawn])")).to_have_count(0)
    return page.locator(".chart svg").count()


def column(page: Any, table: str, n: int) -> list[str]:
    """Return the texts of a column of a table, visible rows only."""
    return page.locator(f"#{table} tbody tr:not([hidden]) > :nth-child({n})").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_draws_every_chart_and_anybody_can_read_it(opened: Any, report: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(report, color_scheme=scheme)
    assert draw_all(page) == page.locator(".chart").count() >= 15
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"][:80] for node in each["nodes"]]) for each in found] == []


def test_light_and_dark_by_choice(opened: Any, report: Path) -> None:
    page = opened(report, color_scheme="light")
    shade = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(shade)
    page.select_option("#theme", "dark")
    dark = page.evaluate(shade)
    page.select_option("#theme", "light")
    assert page.evaluate(shade) == light != dark


def test_tables_sort_by_mouse_and_keyboard(opened: Any, report: Path) -> None:
    page = opened(report)
    head = page.locator("#entries thead th:nth-child(5)")
    before = column(page, "entries", 5)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    after = column(page, "entries", 5)
    assert sorted(before) == sorted(after) != after
    known = [float(text.replace(",", "").replace("−", "-")) for text in after if text != "–"]
    assert known == sorted(known, reverse=True)
    assert set(after[len(known) :]) == {"–"}  # what was not run stands last
    page.locator("#entries thead th:first-child button").click()  # tasks in the paper's order, not the alphabet's
    assert page.locator("#entries thead th[aria-sort=ascending]").count() == 1
    assert list(dict.fromkeys(column(page, "entries", 1)))[:3] == ["CartPole", "MountainCar", "Acrobot"]


def test_tables_filter_and_say_how_much_is_left(opened: Any, report: Path) -> None:
    page = opened(report)
    total = len(column(page, "entries", 1))
    assert total >= 155
    form = page.locator("form[data-filters=entries]")
    form.get_by_label("Task").select_option("acrobot")
    form.get_by_label("Find").fill("advanced")
    assert set(column(page, "entries", 1)) == {"Acrobot"}
    assert all("MGAIL advanced" in text for text in column(page, "entries", 3))
    assert form.locator("output").inner_text() == f"{len(column(page, 'entries', 1))} of {total} rows"
    form.get_by_role("button", name="Show all").click()
    sync_api.expect(form.locator("output")).to_have_text(f"{total} rows")


def test_table_1_tells_raw_numbers_on_hover_and_by_arrow_keys(opened: Any, report: Path) -> None:
    page = opened(report)
    tip = page.locator("#tip")
    first = page.locator("#overview td[data-tip]").first
    assert not tip.is_visible()
    first.hover()
    assert tip.inner_text().startswith("BC, CartPole, n=1")
    page.mouse.move(5, 5)
    assert not tip.is_visible()
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert tip.inner_text().startswith("GAIL-REINFORCE, CartPole, n=4")
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_curves_tell_on_hover_and_follow_their_form(opened: Any, report: Path) -> None:
    page = opened(report)
    panel = page.locator("#by-steps .panel").first
    chart = panel.locator(".chart")
    panel.scroll_into_view_if_needed()
    chart.locator("svg").hover(position={"x": 150, "y": 100})
    told = page.locator("#vg-tooltip-element.visible").inner_text()
    assert re.search(r"method\s+(BC|GAIL-\w+|MGAIL \w+)\s", told)
    assert re.search(r"seeds\s+\d+", told)
    sync_api.expect(chart.locator("text", has_text="200")).not_to_have_count(0)
    form = page.locator("form[data-charts=by-steps]")
    form.get_by_label("Height").select_option("score")
    sync_api.expect(chart.locator("text", has_text="0.8")).to_have_count(1)
    form.get_by_role("button", name="Figure 5").click()
    assert form.get_by_label("Height").input_value() == "return"
    assert form.locator("input:checked").count() == 2
    # Every line of the rivals is gone from every panel: two lines and two bands are left.
    page.wait_for_function(
        "chart => chart.querySelectorAll('.mark-line path').length === 2", arg=chart.element_handle()
    )
    form.get_by_label("Expert trajectories").select_option("2")
    for each in page.locator("#by-steps .panel").all():
        captions = json.loads(each.get_attribute("data-captions"))
        sync_api.expect(each.locator(".which")).to_have_text(captions[2])
    sync_api.expect(panel.locator(".which")).to_have_text(re.compile("^n = 7"))


def test_fits_a_telephone(opened: Any, report: Path) -> None:
    page = opened(report, width=360)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert (
        page.evaluate("Math.max(...[...document.querySelectorAll('.chart svg')].map((each) => each.clientWidth))") < 360
    )


def test_anybodys_results(opened: Any, tmp_path: Path) -> None:
    """Names that are code elsewhere, no references, no curves, one seed more than the other has."""
    names = ["</script><script>alert(1)</script>", "b's ${metric} <i>"]
    lines = ["algorithm,task,trajectories,seed,episode,return"]
    lines += [f'"{names[i]}",t{task},{n},{seed},0,{i + task * seed + n}'
              for i in range(2) for task in range(3) for n in (1, 5) for seed in range(3 + i)]  # fmt: skip
    (tmp_path / "theirs.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "theirs.html"
    assert cli.main(["report", "--episodes", str(tmp_path / "theirs.csv"), "--out", str(out)]) == 0
    page = opened(out)
    assert draw_all(page) == 4
    assert page.locator("#overview tbody tr").count() == 6
    assert page.locator("#overview thead button").nth(2).inner_text().strip() in names
    page.locator("#overview td[data-tip]").first.hover()
    assert page.locator("#tip").inner_text().split(", t0")[0] in names
