"""``bench analyze``, ``bench report``, ``bench compare`` and ``bench publish``.

The command line wires them with ``analysis.main.add_parsers(commands)``; nothing heavy is imported before a command is
called. From Python: `analyze` does the same with keywords.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import FORMATS, PARTS
from analysis.report import main as report
from bench.errors import UserError

if TYPE_CHECKING:
    from analysis.load import Results

ANALYZE_HELP = """\
Render Table 1, Figure 5, further figures and the Wilcoxon tests: to the terminal and, in every format, into a folder.
Reads ./runs if it holds a finished run, else the committed results. With --format that format goes to standard output
instead, and into files only with --out. STATISTICS.md explains every number.

  bench analyze                                        all of it
  bench analyze --wilcoxon --format json               the tests, machine-readable
  bench analyze --interactions --runs ablations        how soon, how well and how surely every variant arrives
  bench analyze --runs runs other/runs --table1        Table 1 of two folders; the first counts where both have a run
  bench analyze --episodes theirs.csv --compare A:B    anybody's results: a tidy table with the columns
                                                       algorithm, task, trajectories, seed, episode, return
"""
COMPARE_HELP = """\
Compare two sets of results entry by entry: what a change did. A and B are each a folder of runs, a folder of published
results, a table of episodes (see bench analyze), or a commit, whose committed results are read. Runs are paired by
algorithm, task, trajectories and seed; where each set holds one algorithm only, those two are compared. Every number is
a - b, the two-sided signed-rank test is corrected by Holm over an algorithm's cells, and runs that are the same episode
by episode are told from equal means.

  bench compare runs.before runs.after
  bench compare HEAD~10 HEAD                      the committed results of two commits
  bench compare results runs --format json
"""
PUBLISH_HELP = """\
Add finished runs to the committed results, replacing the same runs there, and render what follows from them.

  bench publish --runs runs                                      into results/
  bench publish --runs ablations --tuning --out results/ablations
                                                                 ablations, whose seeds are for tuning: no results
"""


def add_parsers(commands: Any) -> None:
    """Add ``analyze``, ``report``, ``compare`` and ``publish`` to the subparsers of the command line."""
    for name, help_text, description, add, function in (
        ("analyze", "Table 1, Figure 5 and the Wilcoxon tests", ANALYZE_HELP, add_arguments, run),
        ("report", "one page of everything, for a browser", report.REPORT_HELP, add_report_arguments, report.run),
        ("compare", "two sets of results, entry by entry", COMPARE_HELP, add_compare_arguments, run_compare),
        ("publish", "add finished runs to the committed results", PUBLISH_HELP, add_publish_arguments, run_publish),
    ):
        parser = commands.add_parser(
            name, help=help_text, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add(parser)
        parser.set_defaults(function=function)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``bench analyze``."""
    what = parser.add_argument_group("what (all of it, unless some are named)")
    what.add_argument("--table1", action="store_true", help="Table 1, beside the paper's")
    what.add_argument("--figure5", action="store_true", help="learning curves of the two MGAIL variants")
    what.add_argument(
        "--figures", action="store_true", help="return against trajectories and environment steps, performance profiles"
    )
    what.add_argument("--wilcoxon", action="store_true", help="signed-rank tests")
    what.add_argument(
        "--interactions", action="store_true", help="environment steps and core-minutes until 0.9 of the expert"
    )
    _add_source(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the files go (default without --format: table1)")
    parser.add_argument("--format", choices=FORMATS, help="print this format instead, and write nothing without --out")


def _add_source(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say of which results, and which comparisons are made of them."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--runs", nargs="+", type=Path, metavar="DIR", help="folders of runs")
    source.add_argument("--episodes", type=Path, metavar="FILE", help="a tidy CSV of episodes, plain or gzipped")
    source.add_argument("--results", action="store_true", help="the committed results")
    parser.add_argument(
        "--compare", action="append", default=[], metavar="A:B", help="test A against B only (may be repeated)"
    )


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``bench report``."""
    _add_source(parser)
    report.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out ``bench analyze``."""
    parts = [part for part in PARTS if getattr(args, part)]
    return analyze(
        parts=parts,
        runs=args.runs,
        episodes=args.episodes,
        results=args.results,
        compare=args.compare,
        out=args.out,
        output_format=args.format,
    )


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench compare``."""
    for name in ("A", "B"):
        parser.add_argument(name.lower(), metavar=name, help="runs, results, a table of episodes, or a commit")
    parser.add_argument("--format", choices=FORMATS, help="print this format instead of a table for people")


def run_compare(args: argparse.Namespace) -> int:
    """Carry out ``bench compare``."""
    from analysis.compare import Comparison, open_results
    from analysis.terminal import show_comparison

    comparison = Comparison.build(open_results(args.a), open_results(args.b))
    if args.format:
        sys.stdout.write(comparison.text(args.format))
    else:
        show_comparison(comparison)
    return 0


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``bench publish``."""
    parser.add_argument("--runs", nargs="+", type=Path, default=[Path("runs")], metavar="DIR", help="default: runs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the results folder of this project")
    parser.add_argument(
        "--tuning", action="store_true", help="the runs of seeds for tuning instead, into their own DIR"
    )


def run_publish(args: argparse.Namespace) -> int:
    """Carry out ``bench publish``."""
    from analysis.publish import publish

    directory, results = publish(args.runs, args.out, args.tuning)
    for problem in results.problems:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{directory} holds {len(results.runs)} runs now, and what is rendered from them\n")
    return 0


def analyze(
    parts: Sequence[str] = (),
    runs: Sequence[Path] | None = None,
    episodes: Path | None = None,
    results: bool = False,
    compare: Sequence[str] = (),
    out: Path | None = None,
    output_format: str | None = None,
) -> int:
    """Load, test, render, print; see ``bench analyze --help``. Returns the exit code.

    Raises:
        UserError: whatever the user can put right, before anything is written.
    """
    from analysis.document import Document

    loaded, hint = load(runs, episodes, results)
    chosen = list(parts) or list(PARTS)
    if chosen == ["figure5"] and not len(loaded.curves):
        raise UserError(f"{loaded.source}: a table of final episodes holds no learning curves")
    document = Document.build(loaded, compare)
    if output_format is None:
        directory = out or Path("table1")
        names = document.write(directory, chosen)
        sys.stdout.write(f"Read {loaded.source}{loaded.caution}{hint}\n")
        document.show(chosen)
        sys.stdout.write(f"\nIn {directory}: {', '.join(names)}\n")
        return 0
    sys.stderr.write(f"Read {loaded.source}{loaded.caution}{hint}\n")
    if out is not None:
        document.write(out, chosen, [output_format])
    sys.stdout.write(document.text(chosen, output_format))
    return 0


def load(runs: Sequence[Path] | None, episodes: Path | None, results: bool) -> "tuple[Results, str]":
    """Return what was asked for, else ./runs if it holds a finished run, else the committed results, and a hint."""
    from analysis.committed import read_results
    from analysis.foreign import read_episodes
    from analysis.load import RESULTS
    from analysis.records import holds_finished_run, read_runs

    if episodes is not None:
        return read_episodes(episodes), ""
    if runs is not None:
        return read_runs(runs), ""
    if results:
        return read_results(RESULTS), ""
    here = Path("runs")
    if holds_finished_run(here):
        return read_runs([here]), " (--results reads the committed results)"
    if not (RESULTS / "runs.csv").is_file():
        raise UserError("neither ./runs nor the committed results hold a finished run; `bench run --table1` makes some")
    return read_results(RESULTS), " (the committed results, for ./runs holds no finished run)"
