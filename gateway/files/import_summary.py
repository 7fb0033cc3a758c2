"""What an import did, counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recommender.documents import Kind


@dataclass
class Counts:
    """Rows of one kind of file, by what became of them. Each row that was read is in exactly one of the others."""

    read: int = 0
    created: int = 0  # documents
    accepted: int = 0  # events
    updated: int = 0
    unchanged: int = 0
    stale: int = 0  # documents older, by `updated_at`, than what is kept
    duplicates: int = 0  # events that the log had
    conflicts: int = 0  # events whose id the log has with other content
    rejected: int = 0
    valid: int = 0  # in a dry run, in place of all that is not rejected

    @property
    def usable(self) -> int:
        """Rows that say something the stores now hold, whether they held it before or not."""
        return self.read - self.rejected - self.conflicts


@dataclass
class ImportSummary:
    """What an import did.

    bare_talents, bare_jobs: documents without content that events made, for ids nobody had seen.
    problems: files that broke in the middle, one line each; what stood before the place is imported.
    rejects: the rejects file, None when there is none.
    samples: the first rejected rows, as `file:line: reason`.
    """

    talents: Counts = field(default_factory=Counts)
    jobs: Counts = field(default_factory=Counts)
    events: Counts = field(default_factory=Counts)
    bare_talents: int = 0
    bare_jobs: int = 0
    problems: list[str] = field(default_factory=list)
    rejects: Path | None = None
    samples: list[str] = field(default_factory=list)

    @property
    def usable(self) -> int:
        """Rows of any kind that could be used."""
        return self.talents.usable + self.jobs.usable + self.events.usable

    def of(self, kind: Kind) -> Counts:
        """The counts of one kind of document."""
        return self.talents if kind is Kind.TALENT else self.jobs
