"""What every model store promises; see `recommender.ports.ModelStore`."""

from __future__ import annotations

import json
import math
import mmap
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.adapters.directory.models import ARRAYS, CURRENT, MANIFEST, PINNED, DirectoryModelStore
from recommender.documents import Kind
from recommender.errors import BadInputError, ModelRefusedError, UnavailableError
from recommender.events import Emphasis
from recommender.features import FeatureSpace
from recommender.hidden_pairs import HiddenPairs
from recommender.model import ClientsInterest, Descriptions, Hyperparameters, Manifest, Model, Neighbours, Side
from tests.factories import NOW_MS

ADAPTERS = {"directory": DirectoryModelStore}
OpenStore = Callable[..., DirectoryModelStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture(params=ADAPTERS)
def open_store(request: pytest.FixtureRequest, path: Path) -> OpenStore:
    """Opens the same store every time it is called."""
    return lambda **options: ADAPTERS[request.param](path, **options)


@pytest.fixture
def store(open_store: OpenStore) -> DirectoryModelStore:
    return open_store()


def side(rows: int, width: int = 4, seed: int = 0) -> Side:
    rng = np.random.default_rng(seed)
    return Side(
        ordinals=np.arange(1, rows + 1, dtype=np.uint32) * 3,
        factors=rng.standard_normal((rows, width), dtype=np.float32),
        popularity=rng.random(rows, dtype=np.float32),
        neighbours=ring(rows) if rows > 1 else Neighbours.none(),
    )


def ring(rows: int, **parts: Any) -> Neighbours:
    """Each row leads to the next."""
    columns = (np.arange(rows) + 1) % rows
    whole = {
        "starts": np.arange(rows + 1, dtype=np.int64),
        "columns": columns.astype(np.int32),
        "strengths": np.linspace(0.5, 1, rows, dtype=np.float32),
    }
    return Neighbours(**(whole | parts))


def model(
    version: str = "v1", at: int = 0, talents: Side | None = None, jobs: Side | None = None, **fields: Any
) -> Model:
    defaults: dict[str, Any] = {
        "version": version,
        "trained_at_ms": NOW_MS + at,
        "as_of_ms": NOW_MS,
        "watermark": 250,
        "events": 240,
        "hyperparameters": Hyperparameters(
            factors=4, regularization=0.125, alpha=8.0, half_life_days=None, emphasis=Emphasis(0.5, 0.3)
        ),
        "metrics": {"als": {"recall@20": 0.25, "ndcg@20": 0.1}},
    }
    return Model(
        manifest=Manifest(**{**defaults, **fields}),
        talents=talents if talents is not None else side(7),
        jobs=jobs if jobs is not None else side(5, seed=1),
    )


def assert_same(found: Model, expected: Model) -> None:
    assert found.manifest == expected.manifest
    for ours, theirs in ((found.talents, expected.talents), (found.jobs, expected.jobs)):
        for one, other, names in (
            (ours, theirs, ("ordinals", "factors", "popularity")),
            (ours.neighbours, theirs.neighbours, ("starts", "columns", "strengths")),
            (ours.descriptions, theirs.descriptions, ("starts", "columns", "values")),
        ):
            for name in names:
                assert getattr(one, name).dtype == getattr(other, name).dtype
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (ours.learnt is None) == (theirs.learnt is None)
        if ours.learnt is not None and theirs.learnt is not None:
            np.testing.assert_array_equal(ours.learnt, theirs.learnt)
        assert (ours.lent is None) == (theirs.lent is None)
        if ours.lent is not None and theirs.lent is not None:
            np.testing.assert_array_equal(ours.lent, theirs.lent)
        assert (ours.descriptions.strength, ours.descriptions.until) == (
            theirs.descriptions.strength,
            theirs.descriptions.until,
        )
        assert list(ours.descriptions.space.names) == list(theirs.descriptions.space.names)
        np.testing.assert_array_equal(ours.descriptions.space.weights, theirs.descriptions.space.weights)
    for name in ("talents", "jobs", "what", "by_job"):
        np.testing.assert_array_equal(getattr(found.hidden, name), getattr(expected.hidden, name))


def test_an_empty_store_says_so(store: DirectoryModelStore, path: Path) -> None:
    assert store.versions() == []
    assert store.current() is None
    assert not store.is_pinned()
    assert not path.exists()
    with pytest.raises(KeyError):
        store.load("v1")
    with pytest.raises(KeyError):
        store.promote("v1")


def test_a_model_comes_back_as_it_was_published(store: DirectoryModelStore) -> None:
    store.publish(model())
    assert store.versions() == ["v1"]
    assert store.current() == "v1"
    assert_same(store.load("v1"), model())
    assert store.manifest("v1") == model().manifest


def described(rows: int) -> Side:
    """A side whose last row stands on what it is like, and whose others say something of themselves."""
    learnt = np.arange(rows) < rows - 1
    starts = np.minimum(np.arange(rows + 1, dtype=np.int64), rows - 1)
    columns, values = np.arange(rows - 1, dtype=np.int32) % 2, np.ones(rows - 1, np.float32)
    space = FeatureSpace(("skill c++", "word größe"), np.array([1.5, 2.5], np.float32))
    said = Descriptions(space, starts, columns, values, 0.75, 99)
    return replace(side(rows), learnt=learnt, lent=side(rows, seed=3).factors, descriptions=said)


def test_rows_by_content_and_descriptions_come_back(store: DirectoryModelStore) -> None:
    store.publish(model(talents=described(7), jobs=described(2)))
    assert_same(store.load("v1"), model(talents=described(7), jobs=described(2)))


def two_sided(**parts: Any) -> Model:
    of_clients = Hyperparameters(factors=3, history=0.25, calibration=(8.0, -6.0), talent_calibration=(90.0, -7.5))
    sides = {"talents": side(4, 3), "jobs": side(3, 3, 2), "suited_talents": side(6, 2, 3), "suited_jobs": side(5, 2)}
    return replace(model(of_clients=of_clients), clients=ClientsInterest(**(sides | parts)))


def test_the_clients_interest_comes_back(store: DirectoryModelStore) -> None:
    published = two_sided()
    published = replace(published, manifest=replace(published.manifest, started_from="earlier"))
    store.publish(published)
    found = store.load("v1")
    assert_same(found, published)
    assert found.clients is not None and published.clients is not None
    for name in ("talents", "jobs", "suited_talents", "suited_jobs"):
        ours, theirs = getattr(found.clients, name), getattr(published.clients, name)
        np.testing.assert_array_equal(ours.ordinals, theirs.ordinals)
        np.testing.assert_array_equal(ours.factors, theirs.factors)
    assert found.manifest.started_from == "earlier"
    assert found.of_clients is not None and found.of_clients.hyperparameters.calibration_of(Kind.TALENT) == (90.0, -7.5)


@pytest.mark.parametrize(
    "case", ["widths differ", "no manifest", "no arrays", "wrong width", "a slope without a value"]
)
def test_a_clients_interest_that_cannot_be_served_is_refused(store: DirectoryModelStore, case: str) -> None:
    whole = two_sided()
    broken = {
        "widths differ": two_sided(suited_jobs=side(5, 3)),
        "no manifest": replace(whole, manifest=replace(whole.manifest, of_clients=None)),
        "no arrays": replace(whole, clients=None),
        "wrong width": two_sided(jobs=side(3, 4)),
        "a slope without a value": replace(
            whole,
            manifest=replace(
                whole.manifest, of_clients=Hyperparameters(factors=3, talent_calibration=(float("nan"), 0.0))
            ),
        ),
    }[case]
    with pytest.raises(ModelRefusedError):
        store.publish(broken)
    assert store.versions() == []


def test_the_coarse_rows_are_stored_beside_the_factors_and_begin_at_a_cache_line(store: DirectoryModelStore) -> None:
    rows = side(33, width=64)
    hyper = Hyperparameters(factors=64)
    store.publish(model(talents=rows, jobs=side(7, width=64, seed=1), hyperparameters=hyper))
    found = store.load("v1").talents
    assert found.codes is not None
    assert found.codes[0].tolist() == rows.coarse.codes.tolist()
    assert found.codes[0].ctypes.data % 64 == 0
    assert (found.coarse.spread, found.coarse.reach) == (rows.coarse.spread, rows.coarse.reach)


def test_the_arrays_of_a_model_are_the_file_itself_and_cannot_be_written(store: DirectoryModelStore) -> None:
    store.publish(model())
    found = store.load("v1")
    base: Any = found.jobs.factors
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memoryview | mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        found.jobs.factors[0] = 0
    store.publish(model("v2", 1))
    store.publish(model("v3", 2))
    shutil.rmtree(store.path / "v1")
    assert found.jobs.factors.sum() == model().jobs.factors.sum()  # whoever has loaded it goes on


def test_codes_that_cannot_be_served_are_refused(store: DirectoryModelStore) -> None:
    codes, scales = side(7).coarse.codes, side(7).coarse.scales
    for bad, why in (
        ((codes[:6], scales), r"talents\.codes must be int8 of shape \(7, 4\)"),
        ((codes, scales.astype(np.float64)), r"talents\.scales must be float32 of shape \(7,\)"),
        ((codes, -scales), r"talents\.factors holds numbers that are not finite"),
    ):
        with pytest.raises(ModelRefusedError, match=why):
            store.publish(model(talents=replace(side(7), codes=bad)))
    assert store.versions() == []


def test_a_model_from_before_coarse_rows_gets_them_when_it_is_loaded(store: DirectoryModelStore) -> None:
    store.publish(model(schema=3))
    found = store.load("v1")
    assert found.jobs.codes is None
    assert found.jobs.coarse.codes.tolist() == model().jobs.coarse.codes.tolist()


def test_a_model_from_before_content_is_read_without_any(store: DirectoryModelStore) -> None:
    store.publish(model(schema=2))
    assert_same(store.load("v1"), model(schema=2))


def hidden() -> HiddenPairs:
    """Talents 3 and 6 with jobs 3, 9 and 6."""
    pairs = (np.array(one, np.uint32) for one in ([6, 3, 3], [6, 9, 3]))
    return HiddenPairs.of(*pairs, np.array([4, 12, 13], np.uint8))


def test_pairs_that_are_kept_apart_come_back_and_go_with_who_is_erased(store: DirectoryModelStore) -> None:
    store.publish(replace(model(), hidden=hidden()))
    assert_same(store.load("v1"), replace(model(), hidden=hidden()))
    assert store.erase(Kind.TALENT, 3, "t3") == 1
    assert store.load("v1").hidden.jobs.tolist() == [6]
    store.publish(model("v2", schema=4))
    assert len(store.load("v2").hidden) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"talents": np.array([6, 3, 3], np.uint32)},
        {"jobs": np.array([6, 3], np.uint32)},
        {"what": np.array([4, 12, 32], np.uint8)},
        {"by_job": np.array([0, 1, 3], np.int32)},
        {"by_job": np.array([1, 2, 0], np.int32)},
        {"by_job": np.array([0, 2, 1])},
    ],
)
def test_pairs_that_could_not_be_looked_up_are_refused(store: DirectoryModelStore, bad: dict[str, Any]) -> None:
    with pytest.raises(ModelRefusedError, match="hidden"):
        store.publish(replace(model(), hidden=replace(hidden(), **bad)))


BAD_DESCRIPTIONS: dict[str, Any] = {
    "another length": {"starts": np.zeros(3, np.int64)},
    "a column outside": {"columns": np.full(6, 2, np.int32)},
    "no number": {"values": np.full(6, np.nan, np.float32)},
    "another type": {"values": np.ones(6)},
    "no strength": {"strength": math.inf},
}


@pytest.mark.parametrize("name", BAD_DESCRIPTIONS)
def test_descriptions_that_cannot_be_served_are_refused(store: DirectoryModelStore, name: str) -> None:
    bad = described(7)
    with pytest.raises(ModelRefusedError, match=r"talents\.descriptions"):
        store.publish(model(talents=replace(bad, descriptions=replace(bad.descriptions, **BAD_DESCRIPTIONS[name]))))
    with pytest.raises(ModelRefusedError, match=r"talents\.learnt"):
        store.publish(model(talents=replace(bad, learnt=np.ones(6, np.bool_))))
    with pytest.raises(ModelRefusedError, match=r"talents\.lent"):
        store.publish(model(talents=replace(bad, lent=np.full((7, 4), np.inf, np.float32))))
    assert store.versions() == []


def test_a_model_from_before_neighbours_is_read_without_any(store: DirectoryModelStore) -> None:
    plain = replace(model(), talents=replace(side(7), neighbours=Neighbours.none()))
    plain = replace(plain, jobs=replace(side(5, seed=1), neighbours=Neighbours.none()))
    store.publish(replace(plain, manifest=replace(plain.manifest, schema=1)))
    found = store.load("v1")
    assert found.manifest.hyperparameters.neighbours == 0.0
    assert found.manifest.schema == 1
    assert_same(found, replace(plain, manifest=replace(plain.manifest, schema=1)))


def test_a_model_without_rows_or_times_comes_back(store: DirectoryModelStore) -> None:
    bare = model(talents=side(0), jobs=side(1), as_of_ms=None, metrics={})
    store.publish(bare)
    assert_same(store.load("v1"), bare)


def test_a_metric_without_a_value_comes_back_as_not_a_number(store: DirectoryModelStore) -> None:
    store.publish(model(metrics={"als": {"gini@20": math.nan}}))
    assert math.isnan(store.load("v1").manifest.metrics["als"]["gini@20"])


def test_a_loaded_model_cannot_be_changed_by_its_reader(store: DirectoryModelStore) -> None:
    store.publish(model())
    with pytest.raises(ValueError, match="read-only"):
        store.load("v1").jobs.factors[0, 0] = 1.0


def test_versions_are_in_the_order_of_training(store: DirectoryModelStore) -> None:
    for version, at in (("b", 2), ("c", 1), ("a", 2)):
        store.publish(model(version, at))
    assert store.versions() == ["c", "a", "b"]


def test_the_newest_publication_serves_unless_it_is_told_not_to(store: DirectoryModelStore) -> None:
    store.publish(model("v1"))
    store.publish(model("v2", 1), make_current=False)
    assert store.current() == "v1"
    store.publish(model("v3", 2))
    assert store.current() == "v3"


def test_a_pinned_version_goes_on_serving_until_another_is_promoted_without_a_pin(store: DirectoryModelStore) -> None:
    for number in (1, 2):
        store.publish(model(f"v{number}", number))
    store.promote("v1", pin=True)
    assert (store.current(), store.is_pinned()) == ("v1", True)
    store.publish(model("v3", 3))
    assert store.current() == "v1"
    store.promote("v2")
    assert (store.current(), store.is_pinned()) == ("v2", False)
    store.publish(model("v4", 4))
    assert store.current() == "v4"


def test_a_published_version_never_changes(store: DirectoryModelStore) -> None:
    store.publish(model())
    with pytest.raises(BadInputError, match="model v1 is published already"):
        store.publish(model(events=1))
    assert store.load("v1").manifest.events == 240


@pytest.mark.parametrize("version", ["", "..", "../v1", "a/b", ".tmp-x", "-v", "v\n", "é", "v" * 129])
def test_a_version_that_is_no_plain_name_is_refused(store: DirectoryModelStore, path: Path, version: str) -> None:
    with pytest.raises(BadInputError, match="a version is 1 to 128 of"):
        store.publish(model(version))
    assert not path.exists()
    with pytest.raises(KeyError):
        store.load(version)


def _with(part: str, array: np.ndarray[Any, Any]) -> Model:
    return model(jobs=replace(side(5, seed=1), **{part: array}))


_NAN = side(5).factors.copy()
_NAN[3, 2] = np.nan

UNFIT = {
    "nan": (_with("factors", _NAN), "jobs.factors holds numbers that are not finite"),
    "infinite": (_with("popularity", np.full(5, np.inf, np.float32)), "jobs.popularity holds numbers that are not"),
    "rows": (
        _with("factors", side(4).factors),
        r"jobs.factors must be float32 of shape \(5, 4\), and is .* of \(4",
    ),
    "width": (_with("factors", side(5, 3).factors), r"jobs.factors must be float32 of shape \(5, 4\)"),
    "dtype": (_with("factors", side(5).factors.astype(np.float64)), ".*, and is float64 of"),
    "order": (_with("ordinals", np.array([1, 2, 2, 3, 4], np.uint32)), "jobs.ordinals are not ascending"),
    "rows of neighbours": (_with("neighbours", ring(4)), "jobs.neighbours.starts must count 6, and count 5"),
    "neighbours outside": (
        _with("neighbours", ring(5, columns=np.array([1, 2, 3, 4, 5], np.int32))),
        "jobs.neighbours are no rows of a sparse matrix of 5 × 5",
    ),
    "neighbours cut off": (
        _with("neighbours", ring(5, strengths=np.ones(4, np.float32))),
        "jobs.neighbours are no rows of a sparse matrix",
    ),
    "neighbours that take away": (
        _with("neighbours", ring(5, strengths=np.array([1, 1, -1, 1, 1], np.float32))),
        "jobs.neighbours.strengths must be finite and above 0",
    ),
    "neighbours of another type": (
        _with("neighbours", ring(5, strengths=np.ones(5))),
        "jobs.neighbours must be .* and are .*float64",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_model_that_could_not_serve_is_not_published(store: DirectoryModelStore, path: Path, case: str) -> None:
    unfit, why = UNFIT[case]
    store.publish(model("v0"))
    with pytest.raises(ModelRefusedError, match=f"model v1 is refused: {why}"):
        store.publish(unfit)
    assert sorted(file.name for file in path.iterdir()) == [".lock", CURRENT, "v0"]


def _truncate(folder: Path) -> None:
    (folder / ARRAYS).write_bytes((folder / ARRAYS).read_bytes()[:-10])


def _flip(name: str, at: float) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(len(data) * at)] ^= 1
        (folder / name).write_bytes(data)

    return flip


def _edit(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / MANIFEST).read_bytes())
        (folder / MANIFEST).write_text(json.dumps(document | changes))

    return edit


def _write(name: str, data: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return write


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (_truncate, r"its arrays\.safetensors is torn: \d+ bytes of \d+"),
    "empty arrays": (_write(ARRAYS, b""), r"its arrays\.safetensors is torn: 0 bytes of \d+"),
    "one bit of a factor": (_flip(ARRAYS, 0.9), r"its arrays\.safetensors was altered \(checksum\)"),
    "one bit of the header": (_flip(ARRAYS, 0.01), r"its arrays\.safetensors was altered \(checksum\)"),
    "arrays gone": (lambda folder: (folder / ARRAYS).unlink(), r"its arrays\.safetensors is missing"),
    "manifest torn": (_write(MANIFEST, b'{"schema": 1, "ver'), r"its manifest\.json is torn or altered"),
    "manifest empty": (_write(MANIFEST, b""), r"its manifest\.json is torn or altered"),
    "manifest binary": (_write(MANIFEST, b"\x80\x04\x95pickle"), r"its manifest\.json is torn or altered"),
    "manifest no object": (_write(MANIFEST, b"[]"), r"its manifest\.json is torn or altered"),
    "manifest bottomless": (_write(MANIFEST, b"[" * 100_000), r"its manifest\.json is torn or altered"),
    "manifest gone": (lambda folder: (folder / MANIFEST).unlink(), r"its manifest\.json is missing"),
    "other schema": (_edit(schema=6), "it has schema 6 and this version reads schema 5"),
    "watermark changed": (_edit(watermark=9), r"its manifest\.json was altered \(checksum\)"),
    "checksum removed": (_edit(sha256=None), r"its manifest\.json was altered \(checksum\)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_version_is_refused_with_what_to_do_and_the_others_still_serve(
    store: DirectoryModelStore, path: Path, damage: str
) -> None:
    store.publish(model("v1"))
    store.publish(model("v2", 1))
    harm, why = DAMAGES[damage]
    harm(path / "v2")
    with pytest.raises(ModelRefusedError, match=rf"^model v2 is refused: {why}; promote another version with"):
        store.load("v2")
    assert_same(store.load("v1"), model("v1"))
    store.promote("v1")
    with pytest.raises(ModelRefusedError):
        store.promote("v2")
    assert store.current() == "v1"
    store.publish(model("v3", 2))
    assert store.current() == "v3"


def test_a_version_under_another_s_name_is_refused(store: DirectoryModelStore, path: Path) -> None:
    store.publish(model("v1"))
    shutil.copytree(path / "v1", path / "v2")
    with pytest.raises(ModelRefusedError, match=r"model v2 is refused: its manifest\.json is of version 'v1'"):
        store.load("v2")


def test_arrays_of_another_model_are_refused(store: DirectoryModelStore, path: Path) -> None:
    store.publish(model("v1"))
    store.publish(model("v2", 1, jobs=side(5, seed=9)))
    shutil.copy(path / "v1" / ARRAYS, path / "v2" / ARRAYS)
    with pytest.raises(ModelRefusedError, match=r"its arrays\.safetensors was altered"):
        store.load("v2")


@pytest.mark.parametrize("text", [b"", b"\n", b"../../etc", b"v1\nv2", b"\xff\xfe"])
def test_a_damaged_pointer_is_refused_and_the_next_promotion_mends_it(
    store: DirectoryModelStore, path: Path, text: bytes
) -> None:
    store.publish(model())
    (path / CURRENT).write_bytes(text)
    with pytest.raises(ModelRefusedError, match="CURRENT names no version; promote another"):
        store.current()
    store.promote("v1")
    assert store.current() == "v1"


def test_the_pointer_is_a_line_that_a_person_can_read(store: DirectoryModelStore, path: Path) -> None:
    store.publish(model())
    assert (path / CURRENT).read_text() == "v1\n"
    store.promote("v1", pin=True)
    assert (path / PINNED).read_text() == "v1\n"


def test_the_newest_versions_and_the_current_one_are_kept(open_store: OpenStore) -> None:
    store = open_store(kept=3)
    store.publish(model("v0"))
    store.promote("v0", pin=True)
    for number in range(1, 7):
        store.publish(model(f"v{number}", number))
    assert store.versions() == ["v0", "v4", "v5", "v6"]
    assert store.current() == "v0"
    assert_same(store.load("v0"), model("v0"))


def test_left_overs_of_a_publication_that_died_are_no_version_and_are_swept(
    store: DirectoryModelStore, path: Path
) -> None:
    (path / ".tmp-abc").mkdir(parents=True)
    (path / ".tmp-abc" / ARRAYS).write_bytes(b"half")
    (path / ".tmp-def").write_text("v9\n")
    assert store.versions() == []
    store.publish(model())
    assert sorted(file.name for file in path.iterdir()) == [".lock", CURRENT, "v1"]


def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path, open_store: OpenStore) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(UnavailableError, match=r"model store is unavailable: .*models"):
        open_store().publish(model())


def test_a_full_disk_leaves_the_store_as_it_was(
    store: DirectoryModelStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(model("v1"))

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UnavailableError, match="model store is unavailable: the disk is full; free some space"):
        store.publish(model("v2", 1))
    monkeypatch.undo()
    assert sorted(file.name for file in path.iterdir()) == [".lock", CURRENT, "v1"]
    assert_same(store.load("v1"), model("v1"))


@pytest.mark.parametrize("bytes_left", [1, 200, 20_000, 60_000])
def test_a_disk_that_is_full_in_the_middle_of_a_file_leaves_the_store_as_it_was(
    store: DirectoryModelStore, path: Path, bytes_left: int
) -> None:
    store.publish(model("v1"))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, unlimited[1]))
    try:
        with pytest.raises(UnavailableError, match="model store is unavailable"):
            store.publish(model("v2", 1, talents=side(2_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert sorted(file.name for file in path.iterdir()) == [".lock", CURRENT, "v1"]
    store.publish(model("v2", 1, talents=side(2_000)))
    assert store.current() == "v2"


# Publishers are forked from a process that has imported everything: forty of them take few seconds.
PUBLISHERS = """
import os, signal, sys
from gateway.adapters.directory.models import DirectoryModelStore
from tests.contracts.test_model_store import model, side
DirectoryModelStore(sys.argv[1]).publish(model("v0"))
for line in sys.stdin:
    first, seconds = line.split()
    publisher = os.fork()
    if publisher == 0:
        signal.setitimer(signal.ITIMER_REAL, float(seconds))  # whose signal ends a process as SIGKILL does
        store = DirectoryModelStore(sys.argv[1], kept=3)
        for number in range(int(first), int(first) + 10_000):
            store.publish(model(f"v{number}", number, talents=side(2_000)))
    os.waitpid(publisher, 0)
    print("killed", flush=True)
"""


def test_publishers_that_are_killed_at_any_time_leave_versions_that_serve(open_store: OpenStore, path: Path) -> None:
    store = open_store(kept=3)
    rng = random.Random(8)
    publishers = subprocess.Popen(
        [sys.executable, "-c", PUBLISHERS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert publishers.stdin is not None
    assert publishers.stdout is not None
    served = set()
    for turn in range(40):
        publishers.stdin.write(f"{1 + turn * 10_000} {rng.uniform(0.001, 0.1):.4f}\n")
        publishers.stdin.flush()
        assert publishers.stdout.readline() == "killed\n"
        current = store.current()
        assert current is not None
        served.add(current)
        for version in store.versions():
            number = int(version[1:])
            assert_same(store.load(version), model(version, number, talents=side(2_000)) if number else model("v0"))
        assert store.load(current).manifest.version == current
    publishers.stdin.close()
    publishers.stdout.close()
    assert publishers.wait() == 0
    assert len(served) > 1
    store.publish(model("last", 10**6))
    assert store.current() == "last"
    assert not list(path.glob(".tmp-*"))
