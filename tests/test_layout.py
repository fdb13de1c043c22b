"""Imports go one way, the five packages are ours, and reading results needs no torch."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bench", "algorithms", "datasets", "analysis", "slurm")

# bench core <- algorithms <- datasets <- the command line and the loop <- slurm; analysis stands on bench core alone.
MAY_IMPORT = {
    "core": {"bench"},
    "algorithms": {"bench", "algorithms"},
    "datasets": {"bench", "algorithms", "datasets"},
    "analysis": {"bench", "analysis"},
    "drivers": set(PACKAGES),
    "slurm": set(PACKAGES),
}
HEAVY = {"torch", "gymnasium", "mujoco", "minari", "optuna", "wandb"}


def layer_of(module: str) -> str:
    """Return the layer of a module given by its dotted name."""
    package, _, rest = module.partition(".")
    if package != "bench":
        return package
    return "drivers" if rest.startswith(("cli", "loop", "sweep")) else "core"


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
            yield name, path


def imports_of(path: Path) -> set[str]:
    """Return every absolute module that a file imports, inside functions too (`from a import b`: a and a.b)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = list(modules())


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_go_one_way(module, path):
    layer = layer_of(module)
    ours = {name for name in imports_of(path) if name.partition(".")[0] in PACKAGES}
    outside = {name for name in ours if name.partition(".")[0] not in MAY_IMPORT[layer]}
    assert not outside, f"{module} ({layer}) must not import {outside}"
    if layer not in ("drivers", "slurm"):
        drivers = {name for name in ours if layer_of(name) == "drivers"}
        assert not drivers, f"{module} ({layer}) must not import {drivers}"
    if layer == "analysis":
        heavy = {name for name in imports_of(path) if name.partition(".")[0] in HEAVY}
        assert not heavy, f"{module} must stay free of {heavy}"


def test_the_rule_is_not_empty():
    layers = {layer_of(module) for module, _ in MODULES}
    assert layers == set(MAY_IMPORT)
    assert imports_of(Path(__file__)) >= {"ast", "collections.abc.Iterator", "pathlib"}


def python(code: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_the_packages_are_this_projects(tmp_path):
    """From any folder, as a user has it."""
    done = python(f"import {', '.join(PACKAGES)}; [print(p.__file__) for p in ({', '.join(PACKAGES)})]", tmp_path)
    assert done.stderr == ""
    folders = [Path(line).resolve().parent for line in done.stdout.split()]
    assert folders == [ROOT / package for package in PACKAGES]


def test_reading_results_needs_no_torch(tmp_path):
    plain = [module for module, _ in MODULES if module.startswith("analysis")]
    code = f"import sys, bench, {', '.join(plain)}; bench.load; print(*sys.modules)"
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


def test_the_command_lines_help_needs_no_torch(tmp_path):
    code = "import sys; from bench.cli import parser; parser().format_help(); print(*sys.modules)"
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("shadowed", ["datasets", "algorithms"])
def test_another_package_of_the_same_name_is_told_in_one_line(tmp_path, shadowed):
    (tmp_path / shadowed).mkdir()
    (tmp_path / shadowed / "__init__.py").write_text("")
    code = "import sys; from bench.cli import main; sys.exit(main(['run', '--table1', '--dry-run']))"
    done = python(code, ROOT, PYTHONPATH=str(tmp_path), PYTHONSAFEPATH="1")
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / shadowed) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
