"""Titles and descriptions, put together from O*NET's titles and tasks and from sentences of our own."""

from __future__ import annotations

import numpy as np

from gateway.market.onet import Occupation
from gateway.market.vocabulary import ABOUT_JOB, ABOUT_TALENT, COMPANY_FIRST, COMPANY_KIND, COMPANY_SECOND

_RANKS = (("Junior", "Entry-level", ""), ("", "", ""), ("Senior", "Senior", "Lead", "Principal"))
# These name a rank already: no "Senior Director".
_RANKED = ("Manager", "Director", "Chief", "Head", "President", "Officer", "Supervisor", "Partner", "Executive")


def _choose(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _title(occupation: Occupation, level: int, rng: np.random.Generator) -> str:
    # The best attested titles come first; people prefer them.
    place = int(len(occupation.titles) * rng.random() ** 1.8)
    title = occupation.titles[place]
    rank = "" if any(word in title for word in _RANKED) else _choose(_RANKS[level], rng)
    return f"{rank} {title}".strip()


def _tasks(occupation: Occupation, count: int, rng: np.random.Generator) -> list[str]:
    chosen = rng.choice(len(occupation.tasks), min(count, len(occupation.tasks)), replace=False)
    return [_lowered(occupation.tasks[place].rstrip(".")) for place in sorted(chosen)]


def _lowered(sentence: str) -> str:
    return sentence if sentence[:2].isupper() else sentence[0].lower() + sentence[1:]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def talent_title(occupation: Occupation, level: int, rng: np.random.Generator) -> str:
    """What a talent calls themselves: "Senior Data Engineer"."""
    return _title(occupation, level, rng)


def talent_description(
    occupation: Occupation, title: str, skills: list[str], years: int, industry: str, rng: np.random.Generator
) -> str:
    """A profile's text."""
    experience = f"{years} years" if years > 1 else "my first year" if years == 0 else "one year"
    first, *others = _tasks(occupation, int(rng.integers(2, 4)), rng)
    opening = (
        f"{title} with {experience} of experience, most of it in {industry}.",
        f"I am a {title} and have worked for {industry} clients for {experience}."
        if years > 1
        else f"I am a {title}, new to freelancing and keen on {industry}.",
    )
    work = f"What I do: {first}; {'; '.join(others)}." if others else f"What I do: {first}."
    parts = [_choose(opening, rng), work]
    if skills:
        parts.append(f"My strengths are {_listed(skills[:3])}.")
    parts.append(_choose(ABOUT_TALENT, rng))
    return " ".join(parts)


def job_title(
    occupation: Occupation, level: int, skills: list[str], industry: str, months: int, rng: np.random.Generator
) -> str:
    """What a posting is called: "Data Engineer (Python, Apache Kafka)"."""
    title = _title(occupation, level, rng)
    form = rng.random()
    if form < 0.3 and skills:
        return f"{title} ({', '.join(skills[:2])})"
    if form < 0.45:
        return f"{title} for {industry}"
    if form < 0.55 and months >= 2:
        return f"{title}, {months} months"
    if form < 0.62:
        return f"Freelance {title}"
    return title


def job_description(
    occupation: Occupation, company: str, industry: str, skills: list[str], remote: bool, rng: np.random.Generator
) -> str:
    """A posting's text."""
    first, *others = _tasks(occupation, int(rng.integers(2, 5)), rng)
    parts = [
        f"{company} ({industry}) is looking for somebody to {first}.",
        *(f"You will also {task}." for task in others),
    ]
    if skills:
        parts.append(f"You know {_listed(skills[:4])}.")
    parts.append("The work is remote." if remote else "The work is on site.")
    parts.append(_choose(ABOUT_JOB, rng))
    return " ".join(parts)


def company_name(client: int, rng: np.random.Generator) -> str:
    """A made-up company."""
    name = _choose(COMPANY_FIRST, rng) + _choose(COMPANY_SECOND, rng)
    return f"{name} {_choose(COMPANY_KIND, rng)}".strip()
