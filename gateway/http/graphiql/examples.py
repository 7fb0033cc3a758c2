"""The tabs that GraphiQL opens with for somebody new: one for each use, each of which runs as it stands on the demo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import orjson

RECOMMENDED: Final = """\
# Jobs for three talents, and why.
# Ctrl-Enter runs this query.
query RecommendedJobs {
  talents(first: 3) {
    nodes {
      talentId
      title
      recommendedJobs(first: 5) {
        strategy
        edges {
          rank
          score
          node { jobId title skills }
          reasons { text }
        }
      }
    }
  }
}
"""

HOME_SCREEN: Final = """\
# All that a mobile home screen shows, in one request.
query HomeScreen($talent: ID!) {
  talent(talentId: $talent) {
    title
    isAvailable
    recommendedJobs(first: 3, options: { placement: "home" }) {
      totalCount
      edges {
        recommendationId
        reasons(first: 2) { kind text }
        node {
          jobId
          title
          budget { type min max currency }
          client { clientId }
          similarJobs(first: 2) { nodes { jobId title } }
        }
      }
      facets(fields: [SKILLS, LEVELS], size: 5) { name buckets { value count } }
      pageInfo { hasNextPage endCursor }
    }
    saved: interactions(types: [SAVE], first: 5) { nodes { occurredAt job { jobId title status } } }
  }
}
"""

CLIENT_PAGE: Final = """\
# A client's page: their jobs, and whom to invite to each.
query ClientPage($job: ID!) {
  job(jobId: $job) {
    client {
      clientId
      jobs(first: 5) {
        totalCount
        nodes {
          jobId
          title
          status
          recommendedTalents(first: 3) {
            edges {
              rank
              interactions
              reasons(first: 2) { text }
              node { talentId title hourlyRate { amount currency } }
            }
          }
        }
      }
    }
  }
}
"""

FILTERS: Final = """\
# Filters are hard: what does not match is not there. Facets count all that match.
query FiltersAndFacets($talent: ID!, $filter: JobFilter) {
  talent(talentId: $talent) {
    recommendedJobs(first: 10, filter: $filter) {
      totalCount
      exactness
      nodes { jobId title level skills budget { min max currency } }
      facets(fields: [SKILLS, LEVELS, COUNTRIES, REMOTE, PAY], size: 5) {
        name
        buckets { value count isSelected from to }
        otherCount
        missingCount
      }
    }
  }
  jobs(query: "developer", filter: $filter, sort: NEWEST, first: 5) { totalCount nodes { jobId title postedAt } }
}
"""

EXPLAIN: Final = """\
# Why a job stands where it stands, or what keeps it out.
query Explain($talent: ID!, $job: ID!) {
  explain(talentId: $talent, jobId: $job, side: TALENT) {
    rank
    score
    text
    contributions { signal value }
    blockedBy
  }
}
"""

EVENTS: Final = """\
# Record what somebody did. This writes; an eventId counts once, so running it again changes nothing.
mutation RecordEvents($events: [EventInput!]!) {
  recordEvents(input: { events: $events }) {
    acceptedCount
    duplicateCount
    userErrors { index field code message }
    talents { talentId recommendedJobs(first: 3) { nodes { jobId title } } }
  }
}
"""

SUBSCRIPTION: Final = """\
# Run this, then record an event in another tab: the list is told to be out of date.
subscription ListChanged($talent: ID!) {
  recommendationsChanged(subject: { talentId: $talent }) {
    cause
    talent { recommendedJobs(first: 3) { nodes { jobId title } } }
  }
}
"""

# Ids of the demo market; others are put in their place in the editor of variables.
TALENT: Final = "tal-000001"
JOB: Final = "job-000001"


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab of the page; variables as they stand in their editor."""

    query: str
    variables: str = ""


def _variables(**values: object) -> str:
    return orjson.dumps(values, option=orjson.OPT_INDENT_2).decode()


TABS: Final = (
    Tab(RECOMMENDED),
    Tab(HOME_SCREEN, _variables(talent=TALENT)),
    Tab(CLIENT_PAGE, _variables(job=JOB)),
    Tab(FILTERS, _variables(talent=TALENT, filter={"isRemote": True, "levels": ["INTERMEDIATE", "EXPERT"]})),
    Tab(EXPLAIN, _variables(talent=TALENT, job=JOB)),
    Tab(
        EVENTS,
        _variables(
            events=[
                {"eventId": "graphiql-1", "actor": "TALENT", "type": "SAVE", "talentId": TALENT, "jobId": JOB},
            ]
        ),
    ),
    Tab(SUBSCRIPTION, _variables(talent=TALENT)),
)


def tabs_json(tabs: tuple[Tab, ...]) -> str:
    """What the page reads."""
    return orjson.dumps([asdict(tab) for tab in tabs]).decode()
