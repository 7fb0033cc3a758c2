"""Documents that cost more than they should, and what each costs here: `python -m tests.gateway.hostile_documents`."""

# ruff: noqa: E501
from __future__ import annotations

import sys
import time
from typing import Final

from graphql import GraphQLError, validate

from gateway.graphql.cost import requested_cost, too_large
from gateway.graphql.documents import MAX_ERRORS, Documents
from gateway.graphql.schema import SCHEMA


def _chain(levels: int, spread: int = 2) -> str:
    frags = "".join(f"fragment f{i} on Query {{ {' '.join([f'...f{i + 1}'] * spread)} }} " for i in range(levels))
    return "{ ...f0 } " + frags + f"fragment f{levels} on Query {{ __typename }}"


def _list_chain(levels: int) -> str:
    frags = "".join(
        f"fragment f{i} on Job {{ similarJobs(first: 2) {{ nodes {{ ...f{i + 1} ...f{i + 1} }} }} }} "
        for i in range(levels)
    )
    return '{ job(jobId:"j1") { ...f0 } } ' + frags + f"fragment f{levels} on Job {{ title }}"


HOSTILE: Final = {
    "10k aliases": "{ " + " ".join(f"a{i}: __typename" for i in range(10_000)) + " }",
    "300 aliases of lists": "{ " + " ".join(f"a{i}: jobs {{ totalCount }}" for i in range(300)) + " }",
    "fragment bomb 20": _chain(20),
    "fragment bomb 40": _chain(40),
    "fragment bomb 90": _chain(90),
    "fragment bomb wide": _chain(30, 10),
    "list bomb 20": _list_chain(20),
    "list bomb 40": _list_chain(40),
    "list product": "{ jobs(first:100) { nodes { similarJobs(first:100) { nodes { similarJobs(first:100) { nodes { similarJobs(first:100) { nodes { id } } } } } } } } }",
    "1k directives": "{ __typename " + "@skip(if:false) " * 1000 + " }",
    "many directives": "{ __typename " + "@include(if:true) " * 280 + " }",
    "990 duplicate fields": "{ " + "__typename " * 990 + " }",
    "duplicate objects": "{ " + 'job(jobId:"a") { title } ' * 180 + " }",
    "depth 5000": "{ " + "a { " * 5000 + "b" + " }" * 5000 + " }",
    "depth 600": '{ job(jobId:"a") { ' + "similarJobs { nodes { " * 150 + "id" + " } }" * 150 + " } }",
    "cycle": "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
    "long cycle": "{ ...f0 } " + " ".join(f"fragment f{i} on Query {{ ...f{(i + 1) % 300} }}" for i in range(300)),
    "1 MB comment": "{ __typename } #" + "x" * 999_000,
    "many comments": "#\n" * 400_000 + "{ __typename }",
    "introspection": "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }",
    "introspection deep": "{ __schema { types { " + "fields { type { " * 30 + "name" + " } }" * 30 + " } } }",
    "introspection aliases": "{ "
    + " ".join(f"a{i}: __schema {{ types {{ name fields {{ name args {{ name }} }} }} }}" for i in range(100))
    + " }",
    "introspection possible": "{ __schema { types { possibleTypes { interfaces { possibleTypes { interfaces { possibleTypes { name } } } } } } } }",
    "overlap siblings": "{ " + " ".join('job(jobId:"a") { title id }' for _ in range(150)) + " }",
    "overlap conflict": "{ " + " ".join(f'x: job(jobId:"a{i}") {{ title }}' for i in range(180)) + " }",
    "overlap fragments": "{ "
    + " ".join(f"...f{i}" for i in range(150))
    + " } "
    + " ".join(f'fragment f{i} on Query {{ job(jobId:"a") {{ title }} }}' for i in range(150)),
    "overlap nested": "{ "
    + " ".join('job(jobId:"a") { similarJobs { nodes { similarJobs { nodes { id } } } } }' for _ in range(70))
    + " }",
    "overlap deep pairs": "query{"
    + 'job(jobId:"a"){similarJobs{nodes{' * 1
    + " ".join("similarJobs{nodes{similarJobs{nodes{id}}}}" for _ in range(90))
    + "}}}"
    + "}",
    "nested fragments overlap": "{ ...g0 ...h0 } "
    + " ".join(
        f"fragment g{i} on Query {{ ...g{i + 1} a{i}: __typename }} fragment h{i} on Query {{ ...h{i + 1} a{i}: __typename }}"
        for i in range(60)
    )
    + " fragment g60 on Query { __typename } fragment h60 on Query { __typename }",
    "deep list literal": "{ jobs(filter: { ids: " + "[" * 900 + "]" * 900 + " }) { totalCount } }",
    "deep object literal": "{ jobs(filter: " + "{ filter: " * 400 + "1" + " }" * 400 + ") { totalCount } }",
    "long list literal": "{ jobs(filter: { ids: [" + ",".join('"a"' for _ in range(1900)) + "] }) { totalCount } }",
    "huge int": "{ jobs(first: " + "9" * 100_000 + ") { totalCount } }",
    "long int": "{ jobs(first: " + "9" * 60_000 + ") { totalCount } }",
    "long text": '{ job(jobId: "' + "\\n" * 30_000 + '") { title } }',
    "long block": '{ job(jobId: """' + "\n" * 60_000 + '""") { title } }',
    "text without an end": '{ job(jobId: "' + "a" * 60_000,
    "long name": "{ " + "a" * 60_000 + " }",
    "huge int 4300": "{ jobs(first: " + "9" * 4_200 + ") { totalCount } }",
    "block string": '{ job(jobId: """' + "\n " * 300_000 + '""") { title } }',
    "block string quotes": '{ job(jobId: """' + '\\""" ' * 150_000 + '""") { title } }',
    "string escapes": '{ job(jobId: "' + "\\u0041" * 150_000 + '") { title } }',
    "many operations": " ".join(f"query q{i} {{ __typename }}" for i in range(390)),
    "many variables": "query q(" + " ".join(f"$v{i}: Int" for i in range(480)) + ") { __typename }",
    "unknown fields": "{ " + " ".join(f"jobz{i}" for i in range(1900)) + " }",
    "unknown args": "{ jobs(" + " ".join(f"firsty{i}: 1" for i in range(480)) + ") { totalCount } }",
    "unknown types": " ".join(f"fragment f{i} on Jobz{i} {{ a }}" for i in range(280)),
    "undefined variables": "{ " + " ".join(f"a{i}: job(jobId: $v{i}) {{ id }}" for i in range(130)) + " }",
    "inline fragments": "{ " + "... on Query { " * 490 + "__typename" + " }" * 490 + " }",
    "commas": "," * 900_000 + "{ __typename }",
    "bom and tabs": "\ufeff" * 1 + "\t" * 900_000 + "{ __typename }",
}


def refused(text: str) -> tuple[str | None, float]:
    """Why a document is not executed, None if it is, and how many milliseconds of CPU it took to know."""
    schema, begun, why = SCHEMA._schema, time.thread_time(), None
    try:
        document = Documents().parsed(schema, text)
        errors = validate(schema, document.node, max_errors=MAX_ERRORS)
        errors = errors or too_large(requested_cost(schema, document.node, None, {}))
        why = errors[0].message if errors else None
    except GraphQLError as error:
        why = error.message
    return why, (time.thread_time() - begun) * 1000


if __name__ == "__main__":
    for name, text in HOSTILE.items():
        found = [refused(text) for _ in range(7)]
        sys.stdout.write(f"{min(ms for _, ms in found):8.2f} ms  {name:26} {(found[0][0] or 'executed')[:80]}\n")
