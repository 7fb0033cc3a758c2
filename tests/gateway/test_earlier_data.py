"""Data directories that earlier versions made: this one opens and serves them as they are.

`tests/earlier/model-schema-N.tar.gz`: what `tandem import` and `tandem train` of a version whose models had schema N
made of the market of test_serve.write_market.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from gateway.cli.serve import build_services
from gateway.settings import Settings
from gateway.wiring import open_stores
from recommender.documents import Kind
from recommender.filters import JobFilter, TalentFilter
from recommender.model import SCHEMA
from recommender.query import ListQuery, Mode, RankedPage

EARLIER = sorted((Path(__file__).parents[1] / "earlier").glob("model-schema-*.tar.gz"))


@pytest.mark.parametrize("archive", EARLIER, ids=lambda path: path.name.removesuffix(".tar.gz"))
async def test_what_an_earlier_version_made_is_served(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    stores = open_stores(Settings(data_dir=tmp_path, deadline_ms=30_000), must_exist=True)
    try:
        recommender = build_services(stores).recommender
        assert recommender.refresh_model()
        manifest = recommender.model.manifest
        assert f"model-schema-{manifest.schema}.tar.gz" == archive.name
        assert (manifest.events, (await stores.events.state()).last_seq) == (160, 160)
        for kind, subject, wanted, taste in (
            (Kind.TALENT, "t1", JobFilter(), 1),
            (Kind.JOB, "j2", TalentFilter(), 0),
        ):
            (page,) = await recommender.lists(
                [ListQuery(mode=Mode.RECOMMENDED, subject_kind=kind, subject_id=subject, filter=wanted, first=5)]
            )
            assert isinstance(page, RankedPage)
            assert [int(item.id[1:]) % 2 for item in page.items] == [taste] * 5  # even talents like even jobs
    finally:
        stores.close()


def test_there_is_data_of_each_earlier_schema() -> None:
    assert [path.name for path in EARLIER] == [f"model-schema-{schema}.tar.gz" for schema in range(1, SCHEMA)]
