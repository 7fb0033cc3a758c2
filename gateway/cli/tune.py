"""`tandem tune`: a search of hyper-parameters on a validation split of the log, kept for `tandem train`."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gateway.cli.describing import read_features
from gateway.cli.evaluate import read_events, steps, time_option

if TYPE_CHECKING:
    from optuna import Study, Trial

    from gateway.cli.evaluate import Steps
    from gateway.settings import Settings
    from recommender.blend import Content
    from recommender.choice import Measured, Validation
    from recommender.interactions import EventTable
    from recommender.recipe import Recipe

DEFAULT_MINUTES = 10.0
STUDY = "tandem"
# What is searched. Steps are wide, because a difference of a few hundredths is noise on most logs.
FACTORS = (32, 48, 64, 96, 128, 192)
ITERATIONS = (6, 8, 12, 16, 24)
TALENT_EXPONENTS = (0.0, 0.5, 1.0)
SHRINKAGES = (0.0, 2.0, 5.0, 20.0)
POWERS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)  # of an event's weight
VIEWS = (0.3, 1.0, 2.0, 4.0)  # what the weight of a VIEW is multiplied by
PRIORS = (0.0, 2.0, 5.0, 12.0)  # preferred items that a description is worth
# Raise the number when what is searched changes.
SPACE = (4, FACTORS, ITERATIONS, TALENT_EXPONENTS, SHRINKAGES, POWERS, VIEWS, PRIORS)


class Tuning:
    """A study over one log: measures recipes, and keeps the best where `train` finds it."""

    def __init__(
        self, validation: Validation, study: Study, models: Path, measured_on: dict[str, Any], seed: int
    ) -> None:
        self.validation, self._study, self._models = validation, study, models
        self._measured_on, self._seed = measured_on, seed
        self._best: Any = None
        self._choice: Any = None
        self._finished: tuple[Any, Recipe] | None = None

    def begin(self, choice: Recipe) -> None:
        """Measure what stands already: what was found before, else what `train` would choose by itself."""
        from gateway.tuned import TunedRefusedError, read_tuned

        self._best = self._choice = self.validation.measure(choice)
        try:
            found = read_tuned(self._models)
        except TunedRefusedError:
            found = None
        if found is not None and dict(found.measured_on) == self._measured_on:
            self._consider(self.validation.measure(found.recipe))
        self.keep()
        if not self._study.trials:
            self._study.enqueue_trial(self._parameters(choice))
            self._study.enqueue_trial(self._parameters(self.validation.formula))

    def objective(self, trial: Trial) -> float:
        """The mean gain of one recipe; kept when it is the best so far and surely beats what `train` would choose."""
        measured = self.validation.measure(self._recipe(trial))
        if self._consider(measured):
            self.keep()
        return float(measured.value)

    def _consider(self, measured: Measured) -> bool:
        """Whether it is the best so far: surely better than what `train` would choose, and on fresh splits, too."""
        better = (
            measured.value > self.best_value
            and measured.surely_beats(self._choice)
            and self.validation.holds(measured.recipe, self._choice.recipe)
        )
        if better:
            self._best = measured
        return better

    @property
    def best_value(self) -> float:
        """Mean gain of the best recipe so far."""
        return float(self._best.value)

    @property
    def of_choice(self) -> float:
        """Mean gain of what `train` would choose by itself."""
        return float(self._choice.value)

    def keep(self) -> None:
        """Write down the best so far, for `train`."""
        from gateway.tuned import Tuned, write_tuned

        if self._finished is None or self._finished[0] is not self._best:
            self._finished = self._best, self.validation.finished(self._best.recipe)
        tuned = Tuned(
            recipe=self._finished[1],
            formula=self.validation.formula,
            value=self.best_value,
            of_choice=self.of_choice,
            trials=sum(trial.state.is_finished() for trial in self._study.trials),
            seed=self._seed,
            measured_on=self._measured_on,
        )
        write_tuned(self._models, tuned)

    def _recipe(self, trial: Trial) -> Recipe:
        from recommender.events import Emphasis
        from recommender.likeness import Likeness

        formula, lives = self.validation.formula, [0.0, *self.validation.half_lives_days]
        half_life_days = trial.suggest_categorical("half_life_days", lives) if len(lives) > 1 else 0.0
        emphasis = formula.emphasis
        if self.validation.has_types:
            power, views = trial.suggest_categorical("power", POWERS), trial.suggest_categorical("views", VIEWS)
            emphasis = Emphasis(power, views)
        return replace(
            formula,
            emphasis=emphasis,
            prior=trial.suggest_categorical("prior", PRIORS) if self.validation.is_lending else formula.prior,
            factors=trial.suggest_categorical("factors", FACTORS),
            strength=formula.strength * trial.suggest_float("strength", 1 / 8, 8.0, log=True),
            shrinkage=formula.shrinkage * trial.suggest_float("shrinkage", 1 / 20, 5.0, log=True),
            iterations=trial.suggest_categorical("iterations", ITERATIONS),
            half_life_days=half_life_days or None,
            likeness=Likeness(
                talent=trial.suggest_categorical("talent", TALENT_EXPONENTS),
                source=trial.suggest_float("source", 0.3, 1.0, step=0.1),
                target=trial.suggest_float("target", 0.0, 0.7, step=0.1),
                shrinkage=trial.suggest_categorical("likeness_shrinkage", SHRINKAGES),
            ),
        )

    def _parameters(self, recipe: Recipe) -> dict[str, Any]:
        """A recipe as the nearest parameters of a trial."""
        formula, likeness = self.validation.formula, recipe.likeness
        parameters = {
            "factors": min(FACTORS, key=lambda factors: abs(factors - recipe.factors)),
            "strength": min(max(recipe.strength / formula.strength, 1 / 8), 8.0),
            "shrinkage": min(max(recipe.shrinkage / formula.shrinkage, 1 / 20), 5.0),
            "iterations": 8,
            "talent": min(TALENT_EXPONENTS, key=lambda exponent: abs(exponent - likeness.talent)),
            "source": round(likeness.source, 1),
            "target": round(likeness.target, 1),
            "likeness_shrinkage": min(SHRINKAGES, key=lambda shrinkage: abs(shrinkage - likeness.shrinkage)),
        }
        if self.validation.half_lives_days:
            parameters["half_life_days"] = recipe.half_life_days or 0.0
        if self.validation.has_types:
            parameters |= {"power": recipe.emphasis.power, "views": recipe.emphasis.views}
        if self.validation.is_lending:
            parameters["prior"] = recipe.prior
        return parameters


def search(
    table: EventTable,
    data_dir: Path,
    models: Path,
    *,
    minutes: float,
    trials: int | None,
    seed: int,
    shown: Steps,
    content: Content | None = None,
) -> Tuning:
    """Search until the time or the trials are spent; what was found is in the file at any moment, Ctrl-C included.

    A study of the same log and seed in the data directory is gone on with. Raises BadInputError for too small a log.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from recommender.choice import Validation, choose_recipe
    from recommender.splits import split_events

    until = time.monotonic() + 60 * minutes
    past = split_events(
        table, seed=seed
    ).train  # the newest fifth stays unseen, for `evaluate` and `train` to measure on
    validation = Validation(past, seed, content)
    measured_on = {"events": len(past), "newest_ms": past.newest_ms, "talents_asked": validation.asked, "seed": seed}
    folder = data_dir / "tuning"
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / f"{_fingerprint(past, seed, content)}.journal"
    _mend(journal)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=STUDY,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=8),
        load_if_exists=True,
    )
    tuning = Tuning(validation, study, models, measured_on, seed)
    step = "What train would choose"
    choice = choose_recipe(past, seed=seed, on_trial=lambda done, of: shown.show(step, done, of), content=content)
    shown.end(step)
    tuning.begin(validation.brought_back(choice))
    before, total = len(study.trials), trials if trials is not None else 0

    def told(study: Study, _trial: Any) -> None:
        done = len(study.trials) - before
        label = f"Searching, best {tuning.best_value:.4f} against {tuning.of_choice:.4f}"
        shown.show_as("search", label, done, total or None)

    seconds = until - time.monotonic()
    if seconds > 0 and trials != 0:
        study.optimize(tuning.objective, n_trials=trials, timeout=seconds, callbacks=[told])
        tuning.keep()
    return tuning


def _mend(journal: Path) -> None:
    """Take away the last line of a search that was cut off while it wrote: the next would be written behind it."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        written = file.read()
        file.truncate(written.rfind(b"\n") + 1)


def _fingerprint(table: EventTable, seed: int, content: Content | None) -> str:
    """Names the study: values of another log, of other talents asked, or of other documents, do not compare."""
    digest = hashlib.sha256(repr((SPACE, seed, len(table), table.newest_ms)).encode())
    for column in (table.pair, table.kind, table.at_ms, table.value):
        digest.update(column.tobytes())
    for rows in (content or {}).values():
        for part in (rows.indptr, rows.indices, rows.data):
            digest.update(part.tobytes())
    return digest.hexdigest()[:16]


async def _read(settings: Settings, as_of_ms: int | None, shown: Steps) -> tuple[EventTable, Content, Path]:
    from gateway.wiring import stores

    async with stores(settings, must_exist=True) as opened:
        table, _ = await read_events(opened, as_of_ms, shown)
        return table, (await read_features(opened, shown)).of(table), opened.models.path


def command(
    minutes: Annotated[float, typer.Option(min=0.0, help="How long to search.")] = DEFAULT_MINUTES,
    trials: Annotated[
        int | None, typer.Option(min=0, help="At most so many trials; without it the time decides.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="Look at nothing later than this time.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn by chance.")] = 42,
) -> None:
    """Search hyper-parameters for your log, and keep the best for `tandem train`.

    Measured on a validation split inside the older four fifths. Run it again to go on; Ctrl-C keeps what was found.
    """
    from gateway.settings import load_settings
    from gateway.tuned import NAME
    from recommender.compiled import one_blas_thread

    settings, console = load_settings(), Console()
    with steps() as shown, one_blas_thread():
        table, content, models = asyncio.run(_read(settings, time_option(as_of), shown))
        try:
            tuning = search(
                table,
                settings.data_dir,
                models,
                minutes=minutes,
                trials=trials,
                seed=seed,
                shown=shown,
                content=content,
            )
        except KeyboardInterrupt:
            kept = models / NAME
            if kept.exists():
                Console(stderr=True).print(f"Stopped; the best so far is in {kept}.", highlight=False, markup=False)
            raise
    console.print(
        f"recall@20 + ndcg@20 on the validation split: {tuning.best_value:.4f}; what `tandem train` chooses by itself: "
        f"{tuning.of_choice:.4f}. Kept in {models / NAME}; `tandem train` follows it.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
