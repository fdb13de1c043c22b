"""Which runs make the ablations."""

import re
from pathlib import Path

import pytest

from algorithms import resolve
from bench.cli import main
from bench.errors import UserError
from slurm.ablations import ABLATIONS, GAIL_AIDED, ablations


def by_name(configs):
    return {config.name: config for config in configs if config.seed == 1000}


def test_every_ablation_changes_what_it_says_and_nothing_else():
    configs = ablations()
    assert {(config.task, config.trajectories) for config in configs} == {("hopper", 4)}
    assert {config.seed for config in configs} == {1000, 1001, 1002}
    assert len({config.directory(Path()) for config in configs}) == len(configs)
    whole = resolve("mgail-basic", "hopper")[1].model_dump()
    runs = by_name(configs)
    assert runs.keys() == {"bc", f"gail-trpo+{GAIL_AIDED}", "mgail-basic", *(f"mgail-basic+{a}" for a in ABLATIONS)}
    for name, config in runs.items():
        settings = resolve(config.algorithm, "hopper", overrides=config.settings)[1].model_dump()  # none is idle
        if name.startswith("mgail-basic+"):
            assert {key for key, value in settings.items() if value != whole[key]} == {
                key for key, value in config.settings.items() if value != whole[key]
            }
            assert settings != whole


@pytest.mark.parametrize("label", ["on-policy", "updates-half", "updates-double"])
def test_ablations_of_the_updates_keep_the_environment_steps(label):
    whole, changed = (
        resolve("mgail-basic", "hopper", overrides=config.settings)[1]
        for name, config in by_name(ablations([label])).items()
        if name.startswith("mgail")
    )
    steps, other = (config.iterations * config.env_steps_per_iteration for config in (whole, changed))
    assert abs(other - steps) <= changed.env_steps_per_iteration


def test_what_would_change_nothing_is_left_out():
    runs = by_name(ablations(tasks=["cartpole"], algorithms=["mgail-advanced"], settings={"average": 0.0}))
    assert not runs.keys() & {"mgail-advanced+sigma-half", "mgail-advanced+raw"}  # discrete, and raw already
    assert runs["mgail-advanced+replay"].settings == {"average": 0.0, "segments": "replay"}


def test_a_method_without_the_recipe_and_an_unknown_label_are_refused():
    with pytest.raises(UserError, match="gail-trpo is not MGAIL"):
        ablations(algorithms=["gail-trpo"])
    with pytest.raises(UserError, match="known: replay"):
        ablations(["reply"])
    with pytest.raises(UserError, match="labels its runs itself"):
        ablations(label="mine")


def test_the_document_lists_them():
    text = (Path(__file__).parents[1] / "REPRODUCTION.md").read_text()
    rows = re.search(r"\| label \| what is changed \|\n\|---\|---\|\n((?:\|.*\n)+)", text)
    assert rows is not None
    assert rows[1] == "".join(f"| {label} | {what} |\n" for label, (what, _) in ABLATIONS.items())


def test_the_command_line_lists_them(capsys):
    assert main(["run", "--ablations", "raw,horizon-1", "--seeds", "1000-1000", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert len(re.findall(r"^hopper n=4", text, flags=re.M)) == 5
    assert "mgail-basic+horizon-1 seed 1000" in text
