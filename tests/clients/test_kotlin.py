"""Apollo Kotlin's compiler takes the schema and the operations of docs/clients.md, and the gateway its manifest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from graphql import build_schema

from gateway.graphql.persisted import trusted_documents
from tests.clients import page
from tests.clients.programs import HERE, run
from tests.elasticsearch_server import launcher

COMPILER = HERE / "kotlin"
JARS = COMPILER / "build"  # fetched once for one version, 6 MB
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the compiler writes."""
    if missing := launcher().lacks():
        pytest.skip(f"the compiler of Apollo Kotlin needs {missing}")
    version = re.findall(r"<version>(.+)</version>", (COMPILER / "pom.xml").read_text())[-1]
    if not (JARS / f"apollo-compiler-{version}.jar").is_file():
        run("mvn", "-q", "-B", "-f", COMPILER / "pom.xml", COPY, f"-DoutputDirectory={JARS}")
    directory = tmp_path_factory.mktemp("kotlin")
    operations, extra = page.written(directory, ".graphql", ".graphqls")
    program = launcher().jdk() / "bin" / "java"
    inputs = (directory / "schema.graphql", directory / extra, directory / operations)
    run(program, "-cp", f"{JARS}/*", COMPILER / "Generate.java", *inputs, directory)
    return directory


def test_every_operation_is_a_class_and_what_may_fail_is_nullable(generated: Path) -> None:
    code = generated / "kotlin" / "tandem"
    names = re.findall(r"^(?:query|mutation|subscription) (\w+)", page.files()["operations.graphql"], re.M)
    classes = {path.stem for path in code.glob("*.kt")}
    assert classes == {"JobListQuery", "JobFacetsQuery", "RecordEventsMutation", "ListChangedSubscription"}
    assert len(classes) == len(names)
    assert "val recommendedJobs: RecommendedJobs?" in (code / "JobListQuery.kt").read_text()
    row = (code / "fragment" / "JobRow.kt").read_text()
    assert "val rank: Int," in row
    assert "val node: Node," in row
    assert "val title: String?," in row


def test_enums_that_may_grow_have_a_value_for_what_is_unknown(generated: Path) -> None:
    assert "UNKNOWN__" in (generated / "kotlin" / "tandem" / "type" / "ReasonKind.kt").read_text()


def test_its_manifest_is_one_that_the_gateway_trusts(generated: Path) -> None:
    schema = build_schema((generated / "schema.graphql").read_text())
    trusted = trusted_documents((generated / "manifest.json").read_bytes(), schema, "manifest.json")
    assert len(trusted) == 4
