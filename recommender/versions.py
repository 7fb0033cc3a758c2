"""Which models are in memory: the serving one, swapped whole, and the older ones that lists in flight are pinned to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from pyroaring import BitMap

from recommender.coarse import Coarse
from recommender.content import popularity_bias
from recommender.documents import Kind
from recommender.errors import CursorExpiredError, ModelRefusedError, NoModelError
from recommender.interest import MUTUAL_WEIGHT, Interest
from recommender.model import Model, Side, share_rows
from recommender.neighbours import neighbour_term
from recommender.newcomers import Newcomers, NewRows
from recommender.nomination import joined, rows_for
from recommender.ports import ModelStore, VectorRows
from recommender.scoring import Bias, Dense, Scores, Terms, approximate, best_scored, score

PINNED_MODELS: Final = 2  # besides the serving one: a publication or two happen while somebody pages
RETRY_REFUSED_MS: Final = 60_000  # a copy on a shared directory may be complete by then; checking costs a full read
POPULAR_SHARE: Final = 0.05  # of the rows: what may be called popular


@dataclass(frozen=True, eq=False)
class LoadedSide:
    """One side and what is derived from it once.

    prior_weight: what popularity adds at most to a score by interest. neighbour_weight: of the neighbour sum in it.
    history_weight: of the vector in it. suited: factors by content that belong to the interest.
    mutual: what the others' interest adds to the score, mutual_scale what its score is worth in that of this one.
    """

    side: Side
    prior_weight: float = 0.0
    neighbour_weight: float = 0.0
    history_weight: float = 1.0
    suited: Side | None = None
    mutual: LoadedSide | None = None
    mutual_scale: float = 0.0

    def terms_of(self, interest: Interest, newcomers: NewRows | None = None) -> Terms:
        """The score of a list by interest: the factors' product, what the history's neighbours add, and the prior.

        newcomers: items without a row that have a score all the same.
        """
        products = self.dense_of(interest)
        near = [neighbour_term(interest, self.side, self.neighbour_weight)] if self.has_neighbours else []
        if newcomers is not None and len(newcomers.ordinals):
            near.append(newcomers.term(interest, products, self.alike_weight))
        return Terms(self.side, dense=products, sparse=tuple(near), bias=self.prior)

    def dense_of(self, interest: Interest) -> tuple[Dense, ...]:
        """The products in a score by interest, those of `tables` that say anything, in their order."""
        return (*self._dense(interest, 1.0, ""), *self.mutual_of(interest))

    @cached_property
    def tables(self) -> dict[str, Side]:
        """Whose rows the products of a score are with, by name of the term."""
        found = {"interest": self.side} if self.history_weight > 0 else {}
        if self.suited is not None:
            found["suited"] = self.suited
        if self.mutual is not None:
            found |= {f"mutual {name}": side for name, side in self.mutual.tables.items()}
        return found

    def _dense(self, interest: Interest, scale: float, whose: str, side: Side | None = None) -> list[Dense]:
        """The products of an interest: with what was learnt of items' histories, and of what they say of themselves."""
        found = []
        weight = scale * self.history_weight
        if weight > 0:
            vector = interest.vector if weight == 1.0 else weight * interest.vector
            found.append(Dense(f"{whose}interest", vector, side=side))
        if self.suited is not None and len(interest.suited):
            found.append(Dense(f"{whose}suited", scale * interest.suited, side=self.suited))
        return found

    def mutual_of(self, interest: Interest) -> tuple[Dense, ...]:
        """What the others' interest adds: its products alone, so that a list stays one inner product."""
        scale = interest.mutual_weight * self.mutual_scale
        if self.mutual is None or interest.mutual is None or scale == 0.0:
            return ()
        return tuple(self.mutual._dense(interest.mutual, scale, "mutual ", self.mutual.side))

    @cached_property
    def newcomers(self) -> Newcomers:
        """Items that came after the model, as far as this process has met them."""
        return Newcomers(self.side, self.tables)

    @property
    def alike_weight(self) -> float:
        """What a newcomer's likeness of 1 to an acted-on item adds, where neighbours add anything."""
        return self.neighbour_weight * self.side.descriptions.strength

    @property
    def has_neighbours(self) -> bool:
        """Whether neighbours add anything to a score by interest."""
        return self.neighbour_weight > 0 and len(self.side.neighbours.columns) > 0

    @cached_property
    def popularity(self) -> Bias:
        """See content.popularity_bias."""
        return popularity_bias(self.side)

    @cached_property
    def prior(self) -> tuple[Bias, ...]:
        """What popularity adds to a score by interest: it decides where a history says next to nothing.

        Empty when it adds nothing.
        """
        return (popularity_bias(self.side, self.prior_weight),) if self.prior_weight > 0 else ()

    @cached_property
    def with_row(self) -> BitMap:
        """Ordinals that have a row in any of its terms."""
        found = BitMap(self.side.ordinals)
        if self.suited is not None:
            found |= BitMap(self.suited.ordinals)
        return found if self.mutual is None else found | self.mutual.with_row

    @cached_property
    def inverse_norms(self) -> Scores:
        """1 / length of each row, 0 for a row of zeros: makes an inner product a cosine."""
        norms = self.side.norms
        return np.divide(1.0, norms, out=np.zeros(len(norms)), where=norms > 0)

    @cached_property
    def cosines(self) -> Coarse:
        """The coarse rows at length 1."""
        return self.side.coarse.scaled(self.inverse_norms, self.side.norms)

    @cached_property
    def popular_from(self) -> float:
        """Popularity at which a row belongs to the most popular share; infinite when nothing is popular."""
        popularity = self.side.popularity
        if not len(popularity) or popularity.max() <= 0:
            return float("inf")
        return max(float(np.quantile(popularity, 1 - POPULAR_SHARE)), float(np.finfo(np.float32).tiny))

    def warm(self) -> None:
        """Compute what requests will want, so that none of them waits for it."""
        _ = (self.side.gram, self.inverse_norms, self.popularity, self.prior, self.popular_from, self.cosines)
        tables = list(self.tables.items())
        share_rows([self.side, *self.tables.values()])
        products = tuple(Dense(name, np.ones(side.factors.shape[1]), side=side) for name, side in tables)
        terms = Terms(self.side, dense=products)
        best_scored(terms, self.side.ordinals[:1], 1)
        approximate(terms, self.side.ordinals[:1])
        score(terms, self.side.ordinals[:1])


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model and what is derived from it once."""

    model: Model

    @cached_property
    def talents(self) -> LoadedSide:
        """The talents' side."""
        return LoadedSide(self.model.talents, neighbour_weight=self.model.manifest.hyperparameters.talent_neighbours)

    @cached_property
    def jobs(self) -> LoadedSide:
        """The jobs' side."""
        hyper = self.model.manifest.hyperparameters
        return LoadedSide(self.model.jobs, hyper.popularity, hyper.neighbours)

    def side(self, kind: Kind) -> LoadedSide:
        """The side of one kind, of the talents' interest or the only one."""
        return self.talents if kind is Kind.TALENT else self.jobs

    def lists_of(self, kind: Kind) -> LoadedSide:
        """What lists of one kind go by: the interest of who asks, and what the others' adds to it."""
        if self.model.clients is None:
            return self.side(kind)
        return self._listed_jobs if kind is Kind.JOB else self._listed_talents

    @cached_property
    def _listed_jobs(self) -> LoadedSide:
        return replace(self.jobs, mutual=self._of_clients(Kind.JOB), mutual_scale=self._mutual_scale(Kind.JOB))

    @cached_property
    def _listed_talents(self) -> LoadedSide:
        mutual_scale = self._mutual_scale(Kind.TALENT)
        return replace(self._of_clients(Kind.TALENT), mutual=self.talents, mutual_scale=mutual_scale)

    def _of_clients(self, kind: Kind) -> LoadedSide:
        """The clients' side of one kind. Its score of talents has neighbours; none of the two has a prior."""
        fit, clients = self.model.of_clients, self.model.clients
        if fit is None or clients is None:
            raise RuntimeError("the clients have no interest of their own")
        hyper = fit.hyperparameters
        return LoadedSide(
            fit.side(kind),
            neighbour_weight=hyper.history * hyper.talent_neighbours if kind is Kind.TALENT else 0.0,
            history_weight=hyper.history,
            suited=clients.suited(kind),
        )

    def _mutual_scale(self, kind: Kind) -> float:
        """What one of the others' score is worth in the score of who asks, so that both are worth the same log-odds."""
        mutual = self.model.mutual(kind)
        if mutual is None:
            return 0.0
        (own, _), (other, _) = (fit.hyperparameters.calibration_of(kind) for fit in (self.model.own(kind), mutual))
        return other / own if own > 0 else 0.0

    def vector_rows(self, kind: Kind) -> VectorRows:
        """What a vector index of one kind is made of: the score by interest, but for neighbours."""
        listed, asking = self.lists_of(kind), Kind.JOB if kind is Kind.TALENT else Kind.TALENT
        side = joined(list(listed.tables.values()))
        prior = Terms(listed.side, bias=listed.prior)
        return rows_for(side, [score(prior, side.ordinals)], self._asking(listed, kind, asking))

    def _asking(self, listed: LoadedSide, kind: Kind, asking: Kind) -> Side:
        """Subjects that an index is measured by: those of the model, as they ask at the usual mutual weight."""
        own, mutual, clients = self.model.own(kind), self.model.mutual(kind), self.model.clients
        if mutual is None or clients is None:
            return own.side(asking)
        usual = MUTUAL_WEIGHT * listed.mutual_scale
        found = {
            "interest": (own.side(asking), own.hyperparameters.history),
            "suited": (clients.suited(asking), 1.0),
            "mutual interest": (mutual.side(asking), usual * mutual.hyperparameters.history),
            "mutual suited": (clients.suited(asking), usual),
        }
        sides, scales = zip(*(found[name] for name in listed.tables), strict=True)
        return joined(sides, scales)


class Versions:
    """The models in memory. Loading blocks; everything may be called from any thread."""

    def __init__(self, store: ModelStore, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._serving: LoadedModel | None = None
        self._refused: tuple[str, int] | None = None  # version, when
        self._pinned: OrderedDict[str, LoadedModel] = OrderedDict()

    @property
    def serving(self) -> LoadedModel:
        """The model that new lists are ranked with. Raises NoModelError before the first `refresh`."""
        serving = self._serving
        if serving is None:
            raise NoModelError("there is no model yet; `tandem train` makes one")
        return serving

    def refresh(self) -> bool:
        """Follow the store's pointer; whether the serving model changed.

        Raises ModelRefusedError for a newer model that must not serve, and goes on with the one at hand; says so again
        at most once a minute.
        """
        with self._lock:
            version = self._store.current()
            if version is None or (self._serving is not None and self._serving.model.manifest.version == version):
                return False
            now_ms = self._clock_ms()
            if self._refused is not None:
                refused, at_ms = self._refused
                if refused == version and now_ms - at_ms < RETRY_REFUSED_MS:
                    return False
            try:
                loaded = LoadedModel(self._store.load(version))
            except KeyError as error:
                self._refused = (version, now_ms)
                raise ModelRefusedError(f"model {version} is the current one but is not in the store") from error
            except ModelRefusedError:
                self._refused = (version, now_ms)
                raise
            for kind in Kind:
                loaded.side(kind).warm()
                loaded.lists_of(kind).warm()
            if self._serving is not None:
                self._keep(self._serving)
            self._serving, self._refused = loaded, None
            return True

    def loaded(self, version: str) -> LoadedModel | None:
        """A version that is in memory; None when it must be loaded first."""
        serving = self._serving
        if serving is not None and serving.model.manifest.version == version:
            return serving
        return self._pinned.get(version)

    def load(self, version: str) -> LoadedModel:
        """A version that a cursor is pinned to. Raises CursorExpiredError when it is gone or unusable."""
        with self._lock:
            found = self.loaded(version)
            if found is None:
                try:
                    found = LoadedModel(self._store.load(version))
                except (KeyError, ModelRefusedError) as error:
                    raise CursorExpiredError(
                        f"this list was begun with model {version}, which is gone; start again without `after`"
                    ) from error
            if found is not self._serving:
                self._keep(found)
            return found

    def _keep(self, loaded: LoadedModel) -> None:
        version = loaded.model.manifest.version
        self._pinned[version] = loaded
        self._pinned.move_to_end(version)
        while len(self._pinned) > PINNED_MODELS:
            self._pinned.popitem(last=False)
