"""``bench report``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

REPORT_HELP = """\
Write one HTML page that holds everything: Table 1 (sorts and filters), interactive curves, the tests in words and in
numbers, costs, film strips of policies, what is missing and how to run it, and where it all comes from. Reads ./runs if
it holds a finished run, else the committed results. The page opens from disk, in light and dark, without a network;
the same results give the same bytes.

  bench report                                         into ./report.html
  bench report --runs runs other/runs --out both.html  two folders; the first counts where both have a run
  bench report --episodes theirs.csv --compare A:B     anybody's results, as for `bench analyze`
  bench watch runs/bc/hopper/n4/seed0 --out strips/hopper-bc.png
  bench report --strips strips                         with film strips of your own, named <task>-<whatever>.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``bench report`` beside those that name the results."""
    parser.add_argument(
        "--strips", type=Path, metavar="DIR", help="film strips (*.png) to show (default: the shipped experts')"
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html")


def run(args: argparse.Namespace) -> int:
    """Carry out ``bench report``."""
    return report(args.runs, args.episodes, args.results, args.compare, args.strips, args.out)


def report(
    runs: Sequence[Path] | None = None,
    episodes: Path | None = None,
    results: bool = False,
    compare: Sequence[str] = (),
    strips: Path | None = None,
    out: Path = Path("report.html"),
) -> int:
    """Load, test, write the page; see ``bench report --help``. Returns the exit code.

    Raises:
        UserError: whatever the user can put right, before anything is written.
    """
    from analysis.document import Document, write_files
    from analysis.load import RESULTS
    from analysis.main import load
    from analysis.report.page import read_strips, render

    shipped = RESULTS / "strips"
    chosen = strips or (shipped if shipped.is_dir() and episodes is None else None)
    pictures = {} if chosen is None else read_strips(chosen)
    loaded, hint = load(runs, episodes, results)
    page = render(Document.build(loaded, compare), pictures)
    write_files(out.parent, {out.name: page})
    sys.stdout.write(f"Read {loaded.source}{loaded.caution}{hint}\nIn {out} ({len(page) / 1e6:.1f} MB)\n")
    return 0
