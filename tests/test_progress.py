"""What is shown while runs go on."""

import itertools

import pytest

from bench import progress
from bench.progress import Display, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (5401, "1.5 h"), (172800, "2.0 days")],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 20 seconds whenever it is looked at."""
    monkeypatch.setattr(progress.time, "monotonic", itertools.count(0.0, 20.0).__next__)


@pytest.mark.usefixtures("clock")
def test_where_nobody_watches_live_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with Display([3.0, 1.0], lanes=1) as display:  # looks at the clock: 0
        display.start(0, "long")
        display.update(0, 0, 0.0, "iteration 0/2")  # 20, 40
        display.update(0, 0, 0.5, "iteration 1/2")  # 60, 80
        display.end(0, 0, "long: done")  # 100, 120
        display.start(0, "short")
        display.end(0, 1, "failed: short", important=True)
    assert capsys.readouterr().err.splitlines() == [
        "0 of 2 runs; long: iteration 0/2",
        "0 of 2 runs, about 2 min left; long: iteration 1/2",  # 60 s for 1.5 of 4, so 100 s more
        "1 of 2 runs, about 33 s left; long: done",  # 100 s for 3 of 4
        "failed: short",
        "2 of 2 runs, about 0 s left; failed: short",
    ]


@pytest.mark.usefixtures("clock")
def test_what_was_done_before_says_nothing_about_speed() -> None:
    with Display([1.0], lanes=1) as display:
        display.start(0, "resumed")
        display.update(0, 0, 0.9, "iteration 9/10")
        assert display.left() is None
        display.update(0, 0, 0.95, "iteration 19/20")
        assert display.left() == pytest.approx(120)  # 0.05 took 120 s


@pytest.mark.usefixtures("clock")
def test_trials_that_others_ask_for_meanwhile_count(capsys: pytest.CaptureFixture[str]) -> None:
    with Display([1.0, 1.0], lanes=1, what="trials") as display:
        display.elsewhere(3)
        display.start(0, "trial 4")
        display.update(0, 4, 0.5, "run 1 of 2")
        display.end(0, 4, "trial 4: done")
    assert capsys.readouterr().err.splitlines()[-1].startswith("2 of 5 trials")
