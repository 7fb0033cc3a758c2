"""The rules file: what can be written, the line that a mistake gets, and what becomes of a version that is bad."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from gateway.http.metrics import look_at_rules
from gateway.instruments import exposition
from gateway.rules_file import RulesError, RulesFile, follow_rules, in_words, read_rules, rules_from
from gateway.settings import load_settings
from gateway.wiring import steering_of
from recommender.documents import BudgetType, JobStatus, Level
from recommender.exposure import Floor
from recommender.fatigue import Fatigue
from recommender.filters import AttributeFilter, JobFilter, PayFilter, TalentFilter, TermFilter
from recommender.rules import Rule, RuleKind
from recommender.steering import Steering

WHOLE = """
[[rule]]
name = "No night shifts"
kind = "exclude"
from = 2026-03-01
until = 2026-03-31
placements = ["home", "mail"]
[rule.match]
ids = ["j-1", 7]
excludeIds = ["j-2"]
clientIds = ["acme"]
skills = { all = ["Go"], any = ["SQL"], none = ["PHP"] }
categories = ["Design"]
countries = ["DE"]
levels = ["expert", "ENTRY"]
isRemote = false
postedWithinDays = 30
budget = { type = "hourly", currency = "usd", min = 10, max = 20.5, includeUnknown = true }
attributes = [{ name = "visa", in = ["no"] }, { name = "rating", min = 1, max = 4.5 }]
[rule.for]
isAvailable = true
joinedWithinDays = 60
hourlyRate = { currency = "EUR", max = 90 }

[[rule]]
name = "Spring"
kind = "pin"
position = 3
from = "2026-03-01T08:00:00+01:00"
until = 2026-03-02T00:00:00
match = { ids = ["j-9"] }

[[rule]]
name = "Fewer juniors"
kind = "boost"
list = "talents"
factor = 0.5
add = -0.25
match = { levels = ["ENTRY"] }
for = { categories = ["Law"] }
"""


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def written(path: Path, text: str) -> Path:
    file = path / "rules.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_everything_that_can_be_written(tmp_path: Path) -> None:
    assert read_rules(written(tmp_path, WHOLE)) == (
        Rule(
            name="No night shifts",
            kind=RuleKind.EXCLUDE,
            items=JobFilter(
                ids=("j-1", "7"),
                exclude_ids=("j-2",),
                client_ids=("acme",),
                skills=TermFilter(all=("Go",), any=("SQL",), none=("PHP",)),
                categories=("Design",),
                countries=("DE",),
                levels=(Level.EXPERT, Level.ENTRY),
                is_remote=False,
                posted_within_days=30,
                pay=PayFilter("USD", 10.0, 20.5, True, BudgetType.HOURLY),
                attributes=(AttributeFilter("visa", ("no",)), AttributeFilter("rating", (), 1.0, 4.5)),
            ),
            subjects=TalentFilter(is_available=True, joined_within_days=60, pay=PayFilter("EUR", max=90.0)),
            placements=("home", "mail"),
            from_ms=at("2026-03-01"),
            until_ms=at("2026-04-01"),  # a day is whole
        ),
        Rule(
            name="Spring",
            kind=RuleKind.PIN,
            items=JobFilter(ids=("j-9",)),
            position=3,
            from_ms=at("2026-03-01T07:00:00"),
            until_ms=at("2026-03-02"),
        ),
        Rule(
            name="Fewer juniors",
            kind=RuleKind.BOOST,
            items=TalentFilter(levels=(Level.ENTRY,)),
            subjects=JobFilter(categories=("Law",), statuses=tuple(JobStatus)),  # talents are listed for drafts, too
            factor=0.5,
            addition=-0.25,
        ),
    )


def test_an_empty_file_has_no_rules(tmp_path: Path) -> None:
    assert read_rules(written(tmp_path, "# nothing yet\n")) == ()


RULE = '[[rule]]\nname = "A"\nkind = "exclude"\nmatch = { ids = ["j1"] }\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[[rules]]\nname = "A"', "rules: no such key; did you mean rule?"),
        ("rule = 3", "rule: a list of tables; in front of each rule stands [[rule]]; got 3"),
        ('[[rule]]\nkind = "pin"', 'rule 1: name: every rule needs one, in quotes, such as "Spring campaign"'),
        (RULE + RULE, "rule “A”: name: another rule has it; give each its own"),
        ('[[rule]]\nname = "A"', "rule “A”: kind: is missing"),
        ('[[rule]]\nname = "A"\nkind = "hide"', "rule “A”: kind: one of exclude, pin, boost; got 'hide'"),
        ('[[rule]]\nname = "A"\nkind = "exclude"', "rule “A”: match: is missing"),
        ('[[rule]]\nname = "A"\nkind = "exclude"\nmatch = {}', "rule “A”: match: must name something"),
        (
            '[[rule]]\nname = "A"\nkind = "exclude"\nmatch = { countries = [] }',
            "rule “A”: match: must name something; empty lists match everything",
        ),
        (RULE.replace("ids", "idz"), "rule “A”: match.idz: no such key; did you mean ids?"),
        (RULE + "untill = 2026-01-01", "rule “A”: untill: no such key; did you mean until?"),
        (RULE + "position = 1", "rule “A”: position: belongs to a pin, and this is a rule of kind exclude"),
        (RULE.replace("exclude", "pin"), "rule “A”: position: is missing"),
        (RULE.replace("exclude", "pin") + "position = 0", "rule “A”: position: a row from 1 to 500; got 0"),
        (RULE.replace("exclude", "pin") + "position = true", "rule “A”: position: a row from 1 to 500; got True"),
        (RULE.replace("exclude", "boost"), "rule “A”: factor: a boost needs a `factor` other than 1 or an `add`"),
        (
            RULE.replace("exclude", "boost") + "factor = 0",
            "rule “A”: factor: a number above 0 and up to 100; got 0",
        ),
        (RULE.replace("exclude", "boost") + "add = nan", "rule “A”: add: a number; got nan"),
        (RULE.replace("exclude", "boost") + "add = 2", "rule “A”: add: a number from -1 to 1; got 2"),
        (
            RULE + 'from = "31.01.2026"',
            "rule “A”: from: a day or a time in UTC, such as 2026-03-01 or 2026-03-01T08:00:00Z; got '31.01.2026'",
        ),
        (RULE + "until = 08:00:00", "rule “A”: until: a day or a time in UTC"),
        (RULE + "from = 2026-02-01\nuntil = 2026-01-31", "rule “A”: until: must be later than `from`"),
        (RULE + 'list = "clients"', "rule “A”: list: one of jobs, talents; got 'clients'"),
        (RULE + 'placements = "home"', "rule “A”: placements: a list of texts"),
        (RULE.replace('["j1"]', "[]"), 'rule “A”: match.ids: a list of ids, such as ["j-17", "j-18"]; got []'),
        (RULE.replace('["j1"]', "[1.5]"), "rule “A”: match.ids: a list of ids"),
        (
            RULE.replace('ids = ["j1"]', 'levels = ["BOSS"]'),
            "rule “A”: match.levels: one of entry, intermediate, expert",
        ),
        (RULE.replace('ids = ["j1"]', 'isRemote = "yes"'), "rule “A”: match.isRemote: true or false; got 'yes'"),
        (RULE.replace('ids = ["j1"]', "isAvailable = true"), "rule “A”: match.isAvailable: no such key; there are"),
        (
            RULE.replace('ids = ["j1"]', 'skills = { all = ["Go"], none = ["go"] }'),
            "rule “A”: match: skills: ['go'] stand in both `all` and `none`; nothing can match",
        ),
        (
            RULE.replace('ids = ["j1"]', 'budget = { currency = "USD" }'),
            "rule “A”: match.budget.type: is missing",
        ),
        (
            RULE.replace('ids = ["j1"]', 'budget = { type = "FIXED", currency = "USD", min = 3, max = 2 }'),
            "rule “A”: match: budget: min must not be above max; got min 3.0 and max 2.0",
        ),
        (RULE.replace('ids = ["j1"]', 'attributes = [{ nam = "a" }]'), "rule “A”: match.attributes.name: is missing"),
        (RULE + "for = { clientIds = ['a'] }", "rule “A”: for.clientIds: no such key"),
        (
            RULE + '[[rule]]\nname = "B"\nkind = "pin"\nposition = 1\nmatch = { ids = ["j1"] }',
            "rule “B”: match: what it pins is excluded by rule “A”; drop one of the two",
        ),
        ("[[rule]\n", "not TOML: Expected ']]' at the end of an array declaration (at line 1, column 7)"),
    ],
)
def test_a_mistake_gets_one_line_with_rule_and_key(tmp_path: Path, text: str, line: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(RulesError) as caught:
        read_rules(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: {line}")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("out", "pin"),
    [
        ({"until": "2026-01-31"}, {"from": "2026-02-01"}),
        ({"placements": ["mail"]}, {}),
        ({"for": {"countries": ["DE"]}}, {}),
        ({"match": {"ids": ["j1"], "countries": ["DE"]}}, {}),
        ({"list": "talents"}, {}),
    ],
)
def test_a_pin_may_be_excluded_elsewhere_or_at_another_time(out: dict[str, object], pin: dict[str, object]) -> None:
    base = {"kind": "exclude", "match": {"ids": ["j1"]}}
    rules = [{"name": "A", **base, **out}, {"name": "B", **base, "kind": "pin", "position": 1, **pin}]
    assert len(rules_from({"rule": rules})) == 2


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    for file, line in (
        (tmp_path / "none.toml", "no such file or directory; correct TANDEM_RULES or the file"),
        (tmp_path, "is a directory"),
    ):
        with pytest.raises(RulesError, match=line):
            read_rules(file)
    (tmp_path / "latin.toml").write_bytes(b'name = "M\xfcnchen"')
    with pytest.raises(RulesError, match="must be UTF-8; it is not at byte 9"):
        read_rules(tmp_path / "latin.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(RulesError, match="at most 1,000,000 bytes"):
        read_rules(tmp_path / "large.toml")


def test_a_process_does_not_start_with_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="kind: is missing"):
        RulesFile(written(tmp_path, '[[rule]]\nname = "A"'))


async def test_a_changed_file_is_taken_up_and_a_bad_one_keeps_the_old_rules_and_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, RULE)
    file, handed = RulesFile(path), list[object]()
    following = asyncio.create_task(follow_rules(file, handed.append, every=0.01))

    async def when(text: str, reached: object) -> None:
        other = path.with_suffix(".new")
        other.write_text(text, encoding="utf-8")
        other.replace(path)
        for _ in range(500):
            if reached():  # type: ignore[operator]
                return
            await asyncio.sleep(0.01)
        pytest.fail("the file was not read again")

    with structlog.testing.capture_logs() as logs:
        await when(WHOLE, lambda: handed)
        assert handed == [read_rules(path)]
        await when("[[rule]]", lambda: file.problem)
        assert len(handed) == 1
        assert len(file.rules) == 3
        look_at_rules(file, at("2026-03-01T12:00:00"))
        assert b"\ntandem_rules_refused 1.0\n" in exposition()[0]
        assert b"\ntandem_rules 3.0\n" in exposition()[0]
        await when(WHOLE + "\n", lambda: file.problem is None)
        path.unlink()
        await when(RULE, lambda: len(handed) == 2)
    look_at_rules(file, 0)
    assert b"\ntandem_rules_refused 0.0\n" in exposition()[0]
    assert [entry["event"] for entry in logs if entry["event"] == "rules refused"] != []
    refused = next(entry for entry in logs if entry["event"] == "rules refused")
    assert refused["log_level"] == "error"
    assert "name: every rule needs one" in refused["reason"]
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({}, "always"),
        ({"from": "2026-01-01"}, "from 2026-01-01"),
        ({"until": "2026-01-31"}, "until 2026-01-31"),
        ({"from": "2026-01-01", "until": "2026-01-01"}, "2026-01-01 to 2026-01-01"),
        ({"from": "2026-01-01T08:00", "until": "2026-01-01T17:30"}, "2026-01-01 08:00 to 2026-01-01 17:30"),
    ],
)
def test_when_a_rule_holds_is_said_in_words(when: dict[str, str], words: str) -> None:
    (rule,) = rules_from({"rule": [{"name": "A", "kind": "exclude", "match": {"ids": ["a"]}, **when}]})
    assert in_words(rule) == words


def test_settings_become_steering_and_none_of_it_is_on_by_default() -> None:
    assert steering_of(load_settings()) == Steering()
    settings = load_settings(
        max_per_client=2, fatigue=0.5, fatigue_half_life_days=3, new_jobs_share=0.1, new_jobs_days=4
    )
    expected = Steering(max_per_client=2, fatigue=Fatigue(0.5, 3.0), new_jobs=Floor(0.1, 4))
    assert steering_of(settings) == expected
