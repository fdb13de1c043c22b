"""What a sweep varies: settings of a method, each with a range or a list of choices."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from algorithms import build
from bench.cli_text import setting
from bench.errors import UserError
from bench.tasks import get_task

Space = dict[str, BaseDistribution]

RANGES = {"temperature": "0.1:5:log", "horizon": "5:100:log"}
"""Ranges of their own; any other number may be a tenth of what is tuned to ten times as much, an integer a fourth."""


def read_space(
    texts: Sequence[str],
    algorithm: str,
    tasks: Sequence[str],
    preset: str,
    variant: str | None,
    settings: Mapping[str, Any],
) -> Space:
    """Return {setting: what it may be}.

    Args:
        texts: ``name``, ``name=low:high``, ``name=low:high:log`` or ``name=a/b/c``.
        algorithm: the method, or ``file.py:Class``.
        tasks: the tasks of the sweep.
        preset: which budgets.
        variant: named set of settings.
        settings: settings that are the same in every trial.

    Raises:
        UserError: an unknown setting, one that no task uses, or a range that cannot be.
    """
    space: Space = {}
    for text in texts:
        name, _, what = text.partition("=")
        if name in settings:
            raise UserError(f"setting {name} is swept and given by --set; leave one of them out")
        resolved = {task: build(algorithm, task, preset, variant, settings) for task in tasks}
        fields = next(iter(resolved.values()))[0].Config.model_fields
        if name not in fields:
            raise UserError(f"{algorithm}: unknown setting {name}; known: {', '.join(sorted(fields))}")
        tuned = [getattr(one, name) for _, one in resolved.values()]
        space[name] = _distribution(name, what, fields[name].annotation, tuned)
        used = False
        for value in _ends(space[name]):
            for task in tasks:
                try:
                    one = build(algorithm, task, preset, variant, {**settings, name: value})[1]
                except UserError as error:
                    raise UserError(f"{error}; give another range, as {name}=low:high") from None
                used |= name not in one.idle(get_task(task))
        if not used:
            raise UserError(f"{algorithm}: setting {name} would change nothing on {', '.join(tasks)}")
    return space


def _distribution(name: str, text: str, annotation: Any, tuned: Sequence[Any]) -> BaseDistribution:
    if not text and name not in RANGES and (annotation is bool or get_origin(annotation) is Literal):
        return CategoricalDistribution((False, True) if annotation is bool else get_args(annotation))
    if "/" in text:
        choices = [setting(f"{name}={part}")[1] for part in text.split("/")]
        if any(isinstance(choice, list) for choice in choices):
            raise UserError(f"setting {name} is a list, which cannot be swept")
        return CategoricalDistribution(choices)
    if get_origin(annotation) is tuple:
        raise UserError(f"setting {name} is a list, which cannot be swept")
    if annotation not in (int, float):
        raise UserError(f"setting {name} is no number; name its values, as {name}=a/b")
    if not text and name not in RANGES:
        if min(tuned) <= 0:
            raise UserError(f"setting {name} is {min(tuned):g} where it is tuned; give a range, as {name}=0.001:1:log")
        factor = 4 if annotation is int else 10
        low, high = min(tuned) / factor, max(tuned) * factor
        text = f"{max(1, round(low)) if annotation is int else low}:{high}:log"
    low_text, _, rest = (text or RANGES[name]).partition(":")
    high_text, _, log = rest.partition(":")
    try:
        ends = annotation(low_text), annotation(high_text)
        if log not in ("", "log"):
            raise ValueError(log)
        return (IntDistribution if annotation is int else FloatDistribution)(*ends, log=bool(log))
    except ValueError:
        number = "integers" if annotation is int else "numbers"
        raise UserError(f"{name}={text}: should read low:high or low:high:log, with {number}, or a/b/c") from None


def _ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    """Return the values between which, or of which, the distribution draws."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low, distribution.high


def contains(space: Space, values: Mapping[str, Any]) -> bool:
    """Return whether all values lie in the space."""
    for name, distribution in space.items():
        ends = _ends(distribution)
        if isinstance(distribution, CategoricalDistribution):
            if values[name] not in ends:
                return False
        elif not ends[0] <= values[name] <= ends[1]:
            return False
    return True
