"""The command line. Every command is imported only when it is called, so that `bench --help` is quick."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from analysis import main as analysis
from bench import __version__, cli_data, cli_diagnose, cli_look, cli_run, cli_status, cli_sweep, cli_sync, cli_watch
from bench.errors import UserError

HELP = """\
An imitation-learning benchmark: BC, GAIL and MGAIL, from expert to Table 1.

  bench run --table1        run the entries of Table 1 (quick preset: at most 20 minutes on two cores)
  bench analyze             Table 1, Figure 5 and the Wilcoxon tests, from ./runs or else from the shipped results
  bench status              how the runs in ./runs stand
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error of the user's."""

    def error(self, message: str) -> Any:
        raise UserError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """Return the whole parser."""
    main_parser = _Parser(
        prog="bench", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    main_parser.add_argument("--version", action="version", version=f"bench {__version__}")
    commands = main_parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    cli_run.add_parser(commands)
    analysis.add_parsers(commands)
    cli_look.add_parsers(commands)
    cli_status.add_parser(commands)
    cli_sweep.add_parser(commands)
    cli_sync.add_parser(commands)
    cli_watch.add_parser(commands)
    cli_diagnose.add_parser(commands)
    cli_data.add_parsers(commands)
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 (a run failed), 2 (bad input) or 128 + a signal's number."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # parallelism is over runs; must be set before the libraries are imported
    try:
        args = parser().parse_args(arguments)
        return int(args.function(args) or 0)
    except UserError as error:
        print(f"bench: error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
