"""The hyper-parameters that `tandem tune` found: a JSON file beside the models, which `tandem train` follows."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from recommender.errors import TandemError
from recommender.events import Emphasis
from recommender.likeness import Likeness
from recommender.recipe import Recipe

SCHEMA = 1  # of the file; raise it when a field changes its meaning
NAME = "TUNED.json"
LARGEST, MOST_FACTORS, MOST_ITERATIONS = 1e6, 1_024, 1_000  # far above what is searched; beyond, the file was altered


class TunedRefusedError(TandemError):
    """The file of tuned hyper-parameters cannot be followed."""


@dataclass(frozen=True)
class Tuned:
    """What was found and on what.

    recipe: what won on a part of the log. formula: what the shape of that part suggested. value: mean recall@20 +
    ndcg@20 on the validation split, of_choice: that of what `train` would have chosen by itself. measured_on: of the
    log and the split, for people.
    """

    recipe: Recipe
    formula: Recipe
    value: float
    of_choice: float
    trials: int
    seed: int
    measured_on: Mapping[str, Any]


def write_tuned(models: Path, tuned: Tuned) -> Path:
    """Replace the file in one step; returns where it is."""
    models.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, **asdict(tuned)}
    descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=models)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).chmod(0o644)
    Path(temporary).replace(models / NAME)
    return models / NAME


def read_tuned(models: Path) -> Tuned | None:
    """What was found; None when nothing was. Raises TunedRefusedError for a file that this version cannot follow."""
    path = models / NAME
    try:
        document = json.loads(path.read_bytes())
        schema = document["schema"]
        if schema != SCHEMA:
            raise TunedRefusedError(
                f"{path} has schema {schema!r} and this version reads {SCHEMA}; run `tandem tune` again"
            )
        del document["schema"]
        return Tuned(**{**document, "recipe": _recipe(document["recipe"]), "formula": _recipe(document["formula"])})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TunedRefusedError(f"{path} is torn or altered; run `tandem tune` again, or remove it") from error


def _recipe(stored: Mapping[str, Any]) -> Recipe:
    emphasis = Emphasis(**stored.get("emphasis", {}))  # a file from before it has none
    recipe = Recipe(**{**stored, "likeness": Likeness(**stored["likeness"]), "emphasis": emphasis})
    positive = (recipe.factors, recipe.iterations, recipe.strength, recipe.shrinkage, recipe.half_life_days or 1.0)
    numbers = (
        *positive,
        *astuple(recipe.likeness),
        *astuple(emphasis),
        *(recipe.popularity, recipe.neighbours, recipe.talent_neighbours),
        *(recipe.content, recipe.talent_content, recipe.prior),
    )
    sane = all(0 <= number <= LARGEST for number in numbers) and all(number > 0 for number in positive)
    if not sane or not isinstance(recipe.factors, int) or not isinstance(recipe.iterations, int):
        raise ValueError("a number that no search gives")
    if recipe.factors > MOST_FACTORS or recipe.iterations > MOST_ITERATIONS:
        raise ValueError("more than any search gives")
    return recipe
