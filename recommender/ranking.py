"""One list in the making: from what is known of its subject to terms, candidates and one page. Pure, no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.caching import Turn
from recommender.content import Trait, content_term, weigh
from recommender.documents import Kind
from recommender.eligibility import Exclude, excluded_ids
from recommender.errors import BadInputError, CursorExpiredError
from recommender.events import Event, EventType, actor_of
from recommender.exposure import Floor
from recommender.interest import Interest
from recommender.kept_interests import RestsOn
from recommender.kept_lists import KEPT_BEST, basis, best_of_kept, kept_from, list_key
from recommender.mirror import Mirror
from recommender.model import Ordinals
from recommender.newcomers import NewRows, lent_to
from recommender.nomination import best_of_nominees, count_for, vector_of
from recommender.ports import CachedList, NomineeRequest, Nominees
from recommender.query import ListQuery, Mode, Pins, Strategy
from recommender.retrieval import After, best, best_of_each, ordinals_from_bitmap
from recommender.rules import Rule, RuleKind, in_force, ruled_out
from recommender.scoring import Dense, Scores, Terms, contributions, score
from recommender.snapshots import Snapshot, list_identity, position_digest
from recommender.steering import DEPTH, Steering
from recommender.versions import LoadedModel

# A rebuilt score differs from the cursor's in its last bits when another processor solved for it, and in its first
# ones when the history under the pins was changed.
SAME_SCORE: Final = 1e-6
MOST_RULED_OUT: Final = 10_000  # that an index of vectors is told to leave out; with more, the list does without it


@dataclass(slots=True)
class Draft:
    """A list in the making, filled in step by step. `place` is its query's place in the batch.

    history: every event of the subject until now, but for impressions. mirror: of the items. chosen: what matches
    filter and text. steering: what is set for all lists; rules: those of it that are for this one. impressions: of the
    subject, where fatigue is set. is_somebodys: whether its subject is known to be there, and so may be written down:
    an id that was erased may be asked for by who does not know yet.
    snapshot: None until it is found or made. postings: of its traits, by trait.
    key, revision, basis, turn: for the cache: what the list is kept under, the items' revision before the key was made,
    what a list without a vector rests on, and the turn to make the list.
    nominees, recall: of a vector index where it was asked, and what they are measured to hold once they were used.
    mutual_weight: of the others' interest. subject_ordinal: where the model knows subjects of its kind by content.
    said: features of a subject that the model has no
    row of. newcomers: items that have none. trained: where the history could not be read, the subject's interest as of
    the model's training. explained: an item that is looked at whether or not it matches.
    """

    place: int
    query: ListQuery
    loaded: LoadedModel
    now_ms: int
    history: Sequence[Event]
    mirror: Mirror
    snapshot: Snapshot | None
    is_rebuilt: bool = False
    is_somebodys: bool = False
    steering: Steering = field(default_factory=Steering)
    rules: Sequence[Rule] = ()
    impressions: Sequence[Event] = ()
    traits: tuple[Trait, ...] = ()
    postings: Mapping[Trait, BitMap] = field(default_factory=dict)
    chosen: BitMap = field(default_factory=BitMap)
    key: str = ""
    revision: int = 0
    basis: str = ""
    turn: Turn | None = None
    nominees: Nominees | None = None
    recall: float | None = None
    mutual_weight: float = 0.0
    subject_ordinal: int | None = None
    said: Sequence[str] = ()
    newcomers: NewRows | None = None
    trained: Interest | None = None
    explained: int | None = None
    _terms: Terms | None = None
    _unanswered: dict[str, float] | None = None

    @property
    def terms(self) -> Terms:
        """The score of the list, once its snapshot is there."""
        if self._terms is None:
            self._terms = _terms_of(self)
        return self._terms

    @property
    def leads(self) -> bool:
        """Whether this list is to be made here, for others too."""
        return self.turn is not None and self.turn.leads

    @property
    def waits(self) -> bool:
        """Whether somebody else is making this list."""
        return self.turn is not None and not self.turn.leads

    @property
    def known_turn(self) -> Turn:
        """The turn of a list that leads or waits."""
        if self.turn is None:
            raise RuntimeError("the list has no turn")
        return self.turn

    @property
    def is_searched(self) -> bool:
        """Whether a page takes a search of all candidates: nothing is kept, or it lies behind what is."""
        kept, after = self.known_snapshot.kept, self.query.after
        if kept is None:
            return True
        return not kept.is_whole and after is not None and len(kept.scores) > 0 and after.score < kept.scores[-1]

    def best(self, candidates: BitMap, k: int, as_of_ms: int, after: After | None = None) -> tuple[Ordinals, Scores]:
        """The best k candidates behind `after`, see `retrieval.best`; from the kept list where that has them all, or
        from the nominees where there are enough."""
        kept = self.known_snapshot.kept
        if kept is not None:
            found = best_of_kept(kept, lambda: self.terms, candidates, k, self.mirror, as_of_ms, after)
            if found is not None:
                return found
        if self.nominees is not None:
            with_row = self.loaded.lists_of(self.query.item_kind).with_row
            found = best_of_nominees(self.terms, candidates, self.nominees.ordinals, with_row, k, self.mirror, after)
            if found is not None:
                self.recall = self.nominees.recall
                return found
        return best(self.terms, ordinals_from_bitmap(candidates), k, self.mirror, after)

    @property
    def pins(self) -> Pins:
        """The cursor's, or those of a list that begins now."""
        if self.query.after is not None:
            return self.query.after.pins
        newest = max((event.seq for event in self.history), default=0)
        return Pins(self.loaded.model.manifest.version, newest, self.now_ms)

    @property
    def is_reranked(self) -> bool:
        """Whether any step changes the order of the top. Only what is recommended is re-ranked, not what is alike."""
        if not self.query.options.rerank or self.query.mode is not Mode.RECOMMENDED:
            return False
        is_set = self.most_per_client is not None or self.new_jobs is not None
        return is_set or bool(self.reordering_rules) or bool(self.unanswered)

    @property
    def most_per_client(self) -> int | None:
        """How many jobs of one client any ten rows may have; None without a limit. Talents have no client."""
        asked = self.query.options.max_per_client
        return (self.steering.max_per_client if asked is None else asked) if self._lists_jobs else None

    @property
    def new_jobs(self) -> Floor | None:
        """The floor of exposure, where it is set."""
        return self.steering.new_jobs if self._lists_jobs else None

    @property
    def _lists_jobs(self) -> bool:
        return self.query.item_kind is Kind.JOB

    @property
    def reordering_rules(self) -> list[Rule]:
        """Pins and boosts that were in force when the list was begun."""
        as_of_ms = self.pins.as_of_ms
        return [*in_force(self.rules, RuleKind.PIN, as_of_ms), *in_force(self.rules, RuleKind.BOOST, as_of_ms)]

    @property
    def begun_history(self) -> list[Event]:
        """What the subject had done when the list was begun."""
        return [event for event in self.history if event.seq <= self.pins.history]

    @property
    def unanswered(self) -> dict[str, float]:
        """What the subject was tired of when the list was begun; see fatigue."""
        if self.steering.fatigue is None or not self.impressions:
            return {}
        if self._unanswered is None:
            self._unanswered = self.steering.fatigue.count_unanswered(
                self.impressions, self.begun_history, self.query.item_kind, self.pins.as_of_ms
            )
        return self._unanswered

    @property
    def known_snapshot(self) -> Snapshot:
        """The snapshot, once it is there."""
        if self.snapshot is None:
            raise RuntimeError("the list was not prepared")
        return self.snapshot


def spoken_history(draft: Draft) -> Sequence[Event]:
    """The events that count towards the score: a subject's under the pins, a profile's likes as saves."""
    query = draft.query
    if query.mode is Mode.SIMILAR:
        return ()
    if query.subject_id is None:
        return _likes(query)
    if query.after is None:
        return draft.history
    return [event for event in draft.history if event.seq <= draft.pins.history]


def rests_on(draft: Draft) -> RestsOn:
    """What the interest of a list is solved from. A similar list, a profile and a later page are nobody's to keep."""
    query, history = draft.query, spoken_history(draft)
    own_id = query.subject_id if query.mode is Mode.RECOMMENDED and query.after is None else None
    return RestsOn(
        loaded=draft.loaded,
        item_kind=query.item_kind,
        subject=None if own_id is None else (query.subject_kind, own_id),
        mutual_weight=draft.mutual_weight,
        history=tuple(history),
        known=tuple(draft.mirror.ordinals_of([event.id_of(query.item_kind) for event in history])),
        ordinal=draft.subject_ordinal,
        said=tuple(draft.said),
    )


def _likes(query: ListQuery) -> list[Event]:
    liked = dict.fromkeys(query.profile.liked_job_ids if query.profile else ())
    kind = EventType.SAVE
    return [Event(event_id="", actor=actor_of(kind), type=kind, talent_id="", job_id=job_id) for job_id in liked]


def key_of(draft: Draft) -> str:
    """What the list is kept under. It stays the same as long as the list's interest does."""
    query, item_kind = draft.query, draft.query.item_kind
    history = spoken_history(draft)
    ids = [query.subject_id or ""] if query.mode is Mode.SIMILAR else [event.id_of(item_kind) for event in history]
    known = [draft.subject_ordinal, *draft.mirror.ordinals_of(ids)]
    identity = list_identity(query)
    if draft.loaded.model.clients is not None:
        identity = f"{identity} {draft.mutual_weight!r}"
    return list_key(identity, draft.loaded.model.manifest.version, history, known)


def basis_of(draft: Draft, *, by_interest: bool) -> str:
    """What a list rests on now besides the history: all that its traits do, or what its subject says of itself."""
    if by_interest:
        return basis((), 0, 0, draft.said)
    eligible = len(draft.mirror.eligible(draft.now_ms)) if draft.traits else 0
    return basis(draft.traits, draft.mirror.revision, eligible, draft.said)


def set_key(draft: Draft) -> None:
    """Note what the list is kept under, before any of it is asked for."""
    draft.revision = draft.mirror.revision
    draft.key = key_of(draft)


def set_basis(draft: Draft) -> None:
    """Note what a list without a vector rests on, before any of it is asked for."""
    draft.basis = basis_of(draft, by_interest=False)


def all_to_keep(drafts: Sequence[Draft]) -> list[CachedList | None]:
    """Each list as it is kept; those of one filter are found together. None when something that a list rests on has
    changed since its key was made, and for one that was nominated for: what is kept is the true top."""
    kept: list[CachedList | None] = [None] * len(drafts)
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, draft in enumerate(drafts):
        if draft.nominees is None:
            groups[id(draft.mirror), id(draft.chosen)].append(place)
    for places in groups.values():
        first = drafts[places[0]]
        everything = ordinals_from_bitmap(first.chosen & first.mirror.eligible(first.now_ms))
        lists = [(drafts[place].terms, KEPT_BEST) for place in places]
        for place, found in zip(places, best_of_each(lists, everything, first.mirror), strict=True):
            kept[place] = _to_keep(drafts[place], found, is_whole=len(everything) <= KEPT_BEST)
    return kept


def _to_keep(draft: Draft, found: tuple[Ordinals, Scores], *, is_whole: bool) -> CachedList | None:
    by_interest = draft.known_snapshot.interest is not None
    rests_on = basis_of(draft, by_interest=True) if by_interest else draft.basis
    if draft.mirror.revision != draft.revision and key_of(draft) != draft.key:
        return None
    if rests_on and basis_of(draft, by_interest=by_interest) != rests_on:
        return None
    return kept_from(
        draft.known_snapshot,
        found,
        is_whole=is_whole,
        basis=rests_on,
        revision=draft.revision,
        made_at_ms=draft.now_ms,
    )


def row_of_subject(draft: Draft) -> int:
    """The row that the model has of the subject, -1 for none."""
    if draft.subject_ordinal is None:
        return -1
    side = draft.loaded.side(draft.query.subject_kind).side
    return int(side.rows(np.array([draft.subject_ordinal], dtype=np.uint32))[0])


def lent_to_subjects(drafts: Sequence[Draft]) -> npt.NDArray[np.float64] | None:
    """What each subject's description lends it, of lists of one model and kind; None when nobody is lent anything."""
    loaded, kind = drafts[0].loaded, drafts[0].query.subject_kind
    if not loaded.model.lends_to(kind):
        return None
    ordinals = np.array([draft.subject_ordinal or 0 for draft in drafts], dtype=np.uint32)
    return lent_to(loaded.side(kind).side, loaded.side(kind).newcomers, ordinals, [draft.said for draft in drafts])


def trained_interest(draft: Draft, subject: int) -> Interest | None:
    """What the model learnt of the subject, without knowing from what; None where that is nothing."""
    query = draft.query
    side = draft.loaded.model.own(query.item_kind).side(query.subject_kind)
    row = int(side.rows(np.array([subject], dtype=np.uint32))[0])
    if row < 0 or not side.factors[row].any():
        return None
    return Interest(np.empty(0, np.int32), np.empty(0), side.factors[row].astype(np.float64))


def is_unread(draft: Draft, subject: int) -> bool:
    """Whether the history lacks what the model was learnt from. subject: the ordinal of its subject."""
    model, query = draft.loaded.model, draft.query
    if any(event.seq <= model.manifest.watermark for event in draft.history):
        return False
    side = model.own(query.item_kind).side(query.subject_kind)
    row = side.rows(np.array([subject], dtype=np.uint32))[0]
    return not draft.history or (row >= 0 and (side.learnt is None or bool(side.learnt[row])))


def hidden_then(draft: Draft, subject: int) -> list[Event]:
    """What kept items out of the subject's lists when the model was learnt, as events before all others."""
    kind = draft.query.subject_kind
    found = list(draft.loaded.model.hidden.of_subject(kind, subject))
    known = draft.mirror.alive()
    others = [(other, what, actor) for other, what, actor in found if other in known]
    names = draft.mirror.ids_of([other for other, _, _ in others])
    own = draft.query.subject_id or ""
    pairs = [(own, name) if kind is Kind.TALENT else (name, own) for name in names]
    return [
        Event(event_id="", actor=actor, type=what, talent_id=talent, job_id=job)
        for (talent, job), (_, what, actor) in zip(pairs, others, strict=True)
    ]


def own_row(draft: Draft) -> Interest:
    """A similar list's vector: the subject's own row, of length 1; zeros when the model has none."""
    side = draft.loaded.side(draft.query.item_kind)
    width = side.side.factors.shape[1]
    nothing = Interest(np.empty(0, np.int32), np.empty(0), np.zeros(width))
    ordinal = draft.mirror.ordinals_of([draft.query.subject_id or ""])[0]
    row = -1 if ordinal is None else int(side.side.rows(np.array([ordinal], dtype=np.uint32))[0])
    if row < 0:
        return nothing
    unit = side.side.factors[row].astype(np.float64) * side.inverse_norms[row]
    return Interest(nothing.rows, nothing.weights, unit)


def content_snapshot(draft: Draft) -> Snapshot:
    """What a list without a vector is ranked by: what is shared with it now, popularity when that is nothing.

    The shared units are kept with the list: a document that changes while it is paged must not move in it. They are
    those of what matches: what matches only later has changed since, and shares nothing with this list.
    """
    weighted = weigh(draft.traits, draft.postings, draft.mirror.eligible(draft.now_ms))
    if not weighted:
        return Snapshot(Strategy.POPULAR, None)
    among = draft.chosen if draft.explained is None else draft.chosen | BitMap([draft.explained])
    return Snapshot(Strategy.CONTENT, None, weighted, content_term(weighted, draft.postings, among))


def is_much_shared(drafts: Sequence[Draft], most: int) -> bool:
    """Whether there are more than so many holders of traits to add up for these lists."""
    holders = (min(len(draft.chosen), len(posting)) for draft in drafts for posting in draft.postings.values())
    return sum(holders) > most


def _terms_of(draft: Draft) -> Terms:
    snapshot, kind = draft.known_snapshot, draft.query.item_kind
    if snapshot.interest is not None and draft.query.mode is Mode.SIMILAR:
        side = draft.loaded.side(kind)
        like = Dense("similarity", snapshot.interest.vector, side.inverse_norms, coarse=side.cosines)
        return Terms(side.side, dense=(like,))
    side = draft.loaded.lists_of(kind)
    if snapshot.interest is not None:
        return side.terms_of(snapshot.interest, draft.newcomers)
    shared = () if snapshot.content is None else (snapshot.content,)
    return Terms(side.side, sparse=shared, bias=(side.popularity,))


def hidden_ids(query: ListQuery, history: Sequence[Event]) -> set[str]:
    """Ids of the items that the list leaves out because of its subject: see eligibility; a similar list, itself."""
    if query.mode is Mode.SIMILAR:
        return {query.subject_id or ""}
    if query.subject_id is None:
        return set(query.profile.liked_job_ids if query.profile else ())
    exclude = Exclude.SEEN if query.options.exclude_seen else Exclude.RULES
    return excluded_ids(history, query.item_kind, exclude)


def candidates_of(draft: Draft, history: Sequence[Event], as_of_ms: int) -> BitMap:
    """Everything that matches, may be recommended to the subject and is not ruled out."""
    found = (draft.chosen & draft.mirror.eligible(as_of_ms)) - _excluded(draft, history)
    return found - ruled_out(draft.rules, draft.mirror, as_of_ms) if draft.rules else found


def _excluded(draft: Draft, history: Sequence[Event]) -> BitMap:
    hidden = draft.mirror.ordinals_of(list(hidden_ids(draft.query, history)))
    return BitMap(ordinal for ordinal in hidden if ordinal is not None)


def nominee_request(draft: Draft, least: int) -> NomineeRequest | None:
    """What to ask a vector index for. None for a list that does without: one that is kept, that has fewer than `least`
    candidates, that goes by no interest or by likeness, or a page too deep."""
    query, interest = draft.query, draft.known_snapshot.interest
    if interest is None or query.mode is Mode.SIMILAR or len(draft.chosen) < least or not draft.is_searched:
        return None
    depth = query.first + 1 + (0 if query.after is None else query.after.rank)
    count = count_for(max(depth, DEPTH) if draft.is_reranked else depth)
    out = ruled_out(draft.rules, draft.mirror, draft.now_ms) & draft.chosen if draft.rules else BitMap()
    if count is None or len(out) > MOST_RULED_OUT:
        return None
    excluded = (_excluded(draft, draft.begun_history) | out).to_array()
    tables = draft.loaded.lists_of(query.item_kind).tables
    return NomineeRequest(vector_of(draft.terms, tables), query.filter, query.text, excluded, count)


def check_rebuilt(draft: Draft) -> None:
    """Raises CursorExpiredError when a rebuilt list is not the one that the cursor was issued from."""
    after = draft.query.after
    if after is None or not draft.is_rebuilt:
        return
    if position_digest(draft.query, draft.known_snapshot) != after.digest or _has_drifted(draft, after.id, after.score):
        raise CursorExpiredError("the documents or events behind this list have changed; start again without `after`")


def _has_drifted(draft: Draft, item_id: str, expected: float) -> bool:
    """Whether a vector gives the cursor's item another score. Only a document's content may change under a list."""
    if draft.known_snapshot.interest is None:
        return False
    own = _score_of_id(draft, item_id)
    return own is not None and abs(own - expected) > SAME_SCORE * max(1.0, abs(expected))


def _score_of_id(draft: Draft, item_id: str) -> float | None:
    ordinal = draft.mirror.ordinals_of([item_id])[0]
    if ordinal is None:
        return None
    return float(score(draft.terms, np.array([ordinal], dtype=np.uint32))[0])


def cut_page(draft: Draft, candidates: BitMap) -> tuple[Ordinals, Scores]:
    """One item more than asked for, when there is one: it tells whether there is a next page."""
    wanted, prefix = draft.query.first + 1, draft.known_snapshot.prefix
    after = _keyset_after(draft)
    if prefix is None:
        return draft.best(candidates, wanted, draft.now_ms, after)
    start = 0
    if after is not None:
        start = prefix.ids.index(after.id) + 1 if after.id in prefix.ids else len(prefix.ids)
    rest = [place for place in range(start, len(prefix.ids)) if int(prefix.ordinals[place]) in candidates][:wanted]
    ordinals, scores = prefix.ordinals[rest], prefix.scores[rest]
    if len(rest) == wanted or prefix.boundary is None:
        return ordinals, scores
    behind = after if after is not None and start == len(prefix.ids) and after.id not in prefix.ids else prefix.boundary
    # A pin or the floor may have brought something here from behind.
    tail, tail_scores = draft.best(candidates - BitMap(prefix.ordinals), wanted - len(rest), draft.now_ms, behind)
    return np.concatenate([ordinals, tail]), np.concatenate([scores, tail_scores])


def _keyset_after(draft: Draft) -> After | None:
    """The cursor's place; by the score as rebuilt here when a vector was solved anew, whose last bits may differ."""
    after = draft.query.after
    if after is None:
        return None
    own = _score_of_id(draft, after.id) if draft.is_rebuilt and draft.known_snapshot.interest is not None else None
    return After(after.score if own is None else own, after.id)


def strategies_of(draft: Draft, ordinals: Ordinals) -> list[Strategy]:
    """What each item rests on: without a vector, CONTENT when it shares something, else POPULAR."""
    snapshot = draft.known_snapshot
    if snapshot.interest is not None or not snapshot.traits:
        return [snapshot.strategy] * len(ordinals)
    shared = contributions(draft.terms, ordinals)[0]
    return [Strategy.CONTENT if units > 0 else Strategy.POPULAR for units in shared.tolist()]


def strategy_of_page(base: Strategy, items: Sequence[Strategy]) -> Strategy:
    """That of all items; HYBRID when they differ; the list's own when there are none."""
    kinds = set(items)
    return base if not kinds else kinds.pop() if len(kinds) == 1 else Strategy.HYBRID


def check_options(query: ListQuery) -> None:
    """Raises BadInputError for what no list can be asked for."""
    most = query.options.max_per_client
    if most is not None and most < 1:
        raise BadInputError(f"maxPerClient must be 1 or more; got {most}")
    if query.first < 1:
        raise BadInputError(f"first must be 1 or more; got {query.first}")
    if (query.subject_id is None) == (query.profile is None):
        raise BadInputError("a list needs either a subject's id or a profile")
