"""Which kills there are to be: of what kind, and of a worker in which language."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from webhooks.child import AFTER_EFFECT, BEFORE_EFFECT
from webhooks.languages import Language

ANY_MOMENT = "any-moment"
"""A strike that is not aimed."""
KINDS = (AFTER_EFFECT, BEFORE_EFFECT, ANY_MOMENT)


@dataclass(frozen=True, slots=True)
class Strike:
    """One kill of a worker that is to come."""

    kind: str
    language: Language


def plan_strikes(rng: random.Random, kills: int, languages: Sequence[Language]) -> list[Strike]:
    """Plan as many of each kind in each language, as far as the number allows, in random order."""
    every = [Strike(kind, language) for kind, language in itertools.product(KINDS, languages)]
    strikes = list(itertools.islice(itertools.cycle(every), kills))
    rng.shuffle(strikes)
    return strikes


def plan_sender_strikes(rng: random.Random, sends: int) -> tuple[int, int]:
    """After how many sends a sender is struck, with the outcome of one unknown, and its successor at any moment."""
    first, second = sorted(rng.randrange(max(1, sends // 5), max(2, sends * 2 // 3)) for _ in range(2))
    return first, second - first


def languages_behind(strikes: Sequence[Strike]) -> set[Language]:
    """Return the languages that have the most strikes before them."""
    counts = Counter(strike.language for strike in strikes)
    return {language for language, count in counts.items() if count == max(counts.values())}
