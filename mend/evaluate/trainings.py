"""Trainings of one recipe, which differ in their random seed alone: found in a result, and how far their scores spread."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import stdev
from typing import Any

from mend.errors import InputError, suggest_nearest
from mend.evaluate.result import MethodResult, Result

ELSEWHERE = ("data", "masks", "workers", "compile")  # of a training's record: where it was made and how fast, not what
Recipe = dict[str, Any]


def describe_recipe(method: MethodResult) -> Recipe | None:
    """What trainings of one recipe have in common; None for a method that was not trained by mend.

    Pictures and masks count by content. A key that an older record lacks was not known then, and counts as unset.
    """
    trained = method.model.trained
    if trained is None:
        return None
    known = {key: value for key, value in trained.config.items() if value and key not in (*ELSEWHERE, "seed")}
    content = {"images": trained.images, "pictures": trained.fingerprint, "mask set": trained.mask_set}
    return {**known, "model": method.model.model, "width": method.model.width, **content}


def group_trainings(result: Result, methods: Iterable[str]) -> list[list[str]]:
    """The methods, those of one recipe together, in the order of the first of each."""
    groups: list[tuple[Recipe | None, list[str]]] = []
    for name in methods:
        made = describe_recipe(result.methods[name])
        together = next((names for other, names in groups if made is not None and other == made), None)
        if together is None:
            groups.append((made, [name]))
        else:
            together.append(name)
    return [names for _, names in groups]


def keep_first_trainings(result: Result) -> Result:
    """The result with the first training of each recipe alone."""
    names = [group[0] for group in group_trainings(result, result.methods)]
    return replace(result, methods={name: result.methods[name] for name in names})


def name_group(result: Result, names: Sequence[str]) -> str:
    """What a group of trainings is called: a method alone by its own name, several by their network and width, or where two
    recipes have those in common, by the first one's name without its seed."""
    if len(names) == 1:
        return names[0]
    kind = _describe_kind(result, names[0])
    if all(_describe_kind(result, name) != kind or name in names for name in result.methods):
        return kind
    return re.sub(r"[-_](seed|s)\d+$", "", names[0])


def _describe_kind(result: Result, name: str) -> str:
    model = result.methods[name].model
    return f"{model.model}-w{model.width}"


def pair_with_plain(result: Result, methods: Iterable[str]) -> dict[int, list[tuple[list[str], list[str]]]]:
    """By width each network beside the plain U-Net of that width, (U-Net, network): all trainings of both, or one of each where
    not all of the width have several."""
    by_width: dict[int, list[list[str]]] = {}
    for group in group_trainings(result, [name for name in methods if result.methods[name].model.trained]):
        by_width.setdefault(result.methods[group[0]].model.width, []).append(group)
    found: dict[int, list[tuple[list[str], list[str]]]] = {}
    for width, there in by_width.items():
        several = there if min(map(len, there)) > 1 else [group[:1] for group in there]
        plain = next((group for group in several if result.methods[group[0]].model.model == "unet"), None)
        if plain is not None and len(several) > 1:
            found[width] = [(plain, group) for group in several if group is not plain]
    return found


def find_group(text: str, result: Result) -> list[str]:
    """The methods that `text` names: one, several with commas between them, or those that a pattern such as unet-w16* fits.

    Names are those of the result, or run folders. Raises InputError for one that was not evaluated, and for several that are no
    trainings of one recipe.
    """
    there, found = result.methods, list[str]()
    for part in text.split(","):
        name = Path(part.strip()).name
        fits = [method for method in there if fnmatchcase(method, name)] if "*" in name else [name] if name in there else []
        if not fits:
            raise InputError(f"no result for {name!r}.{suggest_nearest(name, list(there))} Evaluated: {', '.join(there)}.")
        found += [method for method in fits if method not in found]
    _check_group(found, result)
    return found


def _check_group(names: list[str], result: Result) -> None:
    """InputError where several methods are no trainings of one recipe."""
    first, *others = names
    if not others:
        return
    recipes = {name: describe_recipe(result.methods[name]) for name in names}
    for name, made in recipes.items():
        if made is None:
            raise InputError(f"{name} was not trained by mend, so it has no other trainings: compare it alone.")
        model = result.methods[name].model
        if model.trained is None or model.trained.config.get("seed") is None:
            raise InputError(f"the record of {name} has no seed, so nothing says that it is another training. Leave it out.")
    for name in others:
        one, two = recipes[first] or {}, recipes[name] or {}
        differs = [f"{k} {one.get(k)} and {two.get(k)}" for k in dict.fromkeys((*one, *two)) if one.get(k) != two.get(k)]
        if differs:
            raise InputError(
                f"{first} and {name} are no trainings of one recipe: {'; '.join(differs)}. A group differs in the seed alone."
            )
    weights: dict[str, str] = {}
    for name in names:
        same = weights.setdefault(result.methods[name].weights, name)
        if same != name:
            raise InputError(f"{same} and {name} are the same training: their weights are equal. Leave one out.")


def measure_spread(result: Result, metric: str) -> tuple[float, int]:
    """The standard deviation of a metric over trainings of one recipe, pooled over recipes, and its degrees of freedom: 0 where
    no recipe was trained twice."""
    squares, degrees = 0.0, 0
    for names in group_trainings(result, result.methods):
        there = [mean for name in names if (mean := result.methods[name].mean(metric)) is not None]
        if len(there) > 1:
            squares += stdev(there) ** 2 * (len(there) - 1)
            degrees += len(there) - 1
    return (squares / degrees) ** 0.5 if degrees else 0.0, degrees


def measure_difference_spread(result: Result, one: str, two: str, metric: str) -> tuple[float, float]:
    """The standard deviation of the difference of two networks, a training of each, by all their trainings, and its degrees of
    freedom (Welch, 1947); 0 where either has one alone."""
    together = group_trainings(result, result.methods)
    groups = [next((group for group in together if name in group), []) for name in (one, two)]
    means = [[mean for name in group if (mean := result.methods[name].mean(metric)) is not None] for group in groups]
    if groups[0] == groups[1] or min(map(len, means)) < 2:
        return 0.0, 0.0
    variances = [stdev(values) ** 2 for values in means]
    shares = sum(v**2 / (len(values) - 1) for v, values in zip(variances, means, strict=True))
    return sum(variances) ** 0.5, sum(variances) ** 2 / shares if shares else 0.0
