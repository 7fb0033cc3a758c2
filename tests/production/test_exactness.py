"""Lists, totals and facets under random filters are what brute force gives, while another process changes documents."""

from __future__ import annotations

from pathlib import Path

from tests.production.exactness import running_writer, try_questions
from tests.production.stack import running_stack

SIZE = (30, 36)  # talents and jobs


def test_answers_are_exact_while_documents_change_and_after_a_start_with_nothing(
    elasticsearch_url: str, tmp_path: Path
) -> None:
    with running_stack(tmp_path, elasticsearch_url, talents=SIZE[0], jobs=SIZE[1]) as stack:
        replica = stack.replica()
        with running_writer(stack, *SIZE) as writer:
            try_questions(stack, [replica], writer, SIZE, batches=5)
            replica.restart_with_nothing()  # but the models, which are elsewhere
            try_questions(stack, [replica], writer, SIZE, batches=5)
