"""The auditor: reads what the processes left behind, after all of them have ended, and says what is true.

It knows nothing of Onceward and must never import it. Its evidence is the journals, the application's table (read with
Python's own sqlite3), the input itself, and the list of the processes that were killed. Effects are compared with the
input byte for byte: rows by their bodies, journal lines by the SHA-256 of the body that the worker had in hand.
"""

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from webhooks.journal import APPLIED, CONFIRMED, OPENED, SENDING, TAKEN, Entry, read_journal, unfinished_work
from webhooks.languages import Language
from webhooks.promises import AT_LEAST_ONCE, AT_MOST_ONCE, EXACTLY_ONCE, Semantics


@dataclass(frozen=True, slots=True)
class Delivery:
    """One hand-over of a message to a handler."""

    worker: str
    attempt: int


@dataclass(slots=True)
class Share:
    """What the programs in one language did in a round."""

    sent: int = 0
    delivered: int = 0
    applied: int = 0
    kills_survived: int = 0
    kills_with_effect: int = 0
    senders_killed: int = 0


@dataclass(slots=True)
class Findings:
    """What the evidence of one round says."""

    semantics: Semantics
    sent: int = 0
    """Calls of send that were begun, by all senders, the repeated ones included."""
    distinct: int = 0
    """Different webhooks among them whose send was confirmed at least once."""
    delivered: int = 0
    """Times that a message was handed to a handler."""
    applied: int = 0
    """Effects that are there."""
    lost: int = 0
    """Distinct webhooks without any effect."""
    duplicated: int = 0
    """Effects beyond the first one of the same webhook."""
    kills_survived: int = 0
    """Workers killed in the middle of a message: handed over, and not finished."""
    kills_with_effect: int = 0
    """Those among them that were killed between the effect and the acknowledgement (or the commit of both)."""
    kills_between_messages: int = 0
    """Workers killed at any other moment."""
    senders_killed: int = 0
    """Senders killed."""
    sends_in_doubt: int = 0
    """Sends that were begun and whose sender did not live to note the outcome."""
    repeats_recognised: int = 0
    """Confirmed sends that were answered as a duplicate."""
    shares: dict[Language, Share] = field(default_factory=dict)
    """The same counts, of the processes in each language alone."""
    broken: list[str] = field(default_factory=list)
    """The promises that do not hold. Must be empty."""
    unproven: list[str] = field(default_factory=list)
    """What did not happen and should have, for the promises to have been tested at all. Must be empty."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one round left behind, and what went into it."""

    semantics: Semantics
    folder: Path
    """Holds the journals."""
    database: Path
    bodies: Mapping[str, bytes]
    """The input, by GUID."""
    killed: frozenset[str]
    """The names of the processes that got SIGKILL."""
    kills_wanted: int
    """How many kills had to hit a worker at work."""
    languages: tuple[Language, ...]
    """Those that had to take part."""


def audit(evidence: Evidence) -> Findings:
    """Judge one round."""
    findings = Findings(evidence.semantics, shares={language: Share() for language in evidence.languages})
    processes = _read_the_journals(findings, evidence)
    confirmed = _look_at_the_senders(findings, evidence, processes)
    deliveries = _look_at_the_deliveries(findings, processes)
    _look_at_the_kills(findings, evidence, processes)
    _look_for_unexplained_repeats(findings, deliveries, evidence.killed)
    _look_at_the_effects(findings, evidence, processes, confirmed)
    _look_at_the_file(findings, evidence.database)
    _judge(findings, evidence.kills_wanted, repeated=findings.delivered - len(deliveries))
    return findings


@dataclass(frozen=True, slots=True)
class Process:
    """What one process wrote, and the share that it counts for."""

    name: str
    share: Share
    entries: tuple[Entry, ...]


def _read_the_journals(findings: Findings, evidence: Evidence) -> list[Process]:
    """Read what every process wrote; each says itself, in its first line, in which language it is written."""
    processes = []
    versions: set[str] = set()
    for path in sorted(evidence.folder.glob("*.journal")):
        entries = tuple(read_journal(path))
        if not entries:  # Killed before it had opened the store.
            continue
        first = entries[0]
        share = next((share for language, share in findings.shares.items() if language == first.guid), None)
        if first.verb != OPENED or share is None or f"-{first.guid}-" not in path.stem:
            raise ValueError(f"{path.name} does not begin with the language that it should be of: {first}")
        versions.update(first.details)
        processes.append(Process(path.stem, share, entries))
    if len(versions) > 1:
        findings.broken.append(f"the languages have different versions of Onceward: {', '.join(sorted(versions))}")
    return processes


def _look_at_the_senders(findings: Findings, evidence: Evidence, processes: Iterable[Process]) -> set[str]:
    """Count the sends, hold every key against one message; return the GUIDs that were confirmed."""
    ids: defaultdict[str, set[str]] = defaultdict(set)
    taken_as_new: Counter[str] = Counter()
    confirmations = 0
    for process in processes:
        for entry in process.entries:
            if entry.verb == SENDING:
                process.share.sent += 1
            elif entry.verb == CONFIRMED:
                confirmations += 1
                message, outcome = entry.details
                ids[entry.guid].add(message)
                findings.repeats_recognised += outcome == "duplicate"
                taken_as_new[entry.guid] += outcome == "new"
    findings.sent = sum(share.sent for share in findings.shares.values())
    findings.distinct = len(ids)
    findings.sends_in_doubt = findings.sent - confirmations
    if missing := evidence.bodies.keys() - ids.keys():
        findings.unproven.append(f"{len(missing)} of {len(evidence.bodies)} webhooks were never confirmed as sent")
    if several := [guid for guid, messages in ids.items() if len(messages) > 1 or taken_as_new[guid] > 1]:
        findings.broken.append(f"{len(several)} webhooks became more than one message each, {several[0]} is one")
    if len(frozenset[str]().union(*ids.values())) < sum(map(len, ids.values())):
        findings.broken.append("two different webhooks were given the same message id")
    return set(ids)


def _look_at_the_deliveries(findings: Findings, processes: Iterable[Process]) -> dict[str, list[Delivery]]:
    """Collect the hand-overs of each message."""
    deliveries: defaultdict[str, list[Delivery]] = defaultdict(list)
    for process in processes:
        for entry in process.entries:
            if entry.verb == TAKEN:
                message, attempt = entry.details
                deliveries[message].append(Delivery(worker=process.name, attempt=int(attempt)))
                process.share.delivered += 1
    findings.delivered = sum(map(len, deliveries.values()))
    return deliveries


def _look_at_the_kills(findings: Findings, evidence: Evidence, processes: Iterable[Process]) -> None:
    """Tell the kills that hit work from those that did not, by the last line that the worker wrote."""
    shares = {process.name: process.share for process in processes}
    for name in evidence.killed:
        share = shares.get(name, Share())
        if name.startswith("sender-"):
            share.senders_killed += 1
            findings.senders_killed += 1
        elif (last := unfinished_work(evidence.folder / f"{name}.journal")) is None:
            findings.kills_between_messages += 1
        else:
            share.kills_survived += 1
            share.kills_with_effect += last.verb == APPLIED
    findings.kills_survived = sum(share.kills_survived for share in findings.shares.values())
    findings.kills_with_effect = sum(share.kills_with_effect for share in findings.shares.values())


def _look_for_unexplained_repeats(
    findings: Findings, deliveries: Mapping[str, list[Delivery]], killed: frozenset[str]
) -> None:
    """Find messages that came again although no worker of theirs was killed, or at all under at-most-once."""
    unexplained = 0
    same_attempt = 0
    for times in deliveries.values():
        workers = [delivery.worker for delivery in times]
        survivors = sum(worker not in killed for worker in workers)
        repeated_in_vain = len(set(workers)) < len(workers) or survivors > 1
        unexplained += repeated_in_vain or (findings.semantics == AT_MOST_ONCE and len(times) > 1)
        same_attempt += len({delivery.attempt for delivery in times}) < len(times)
    if unexplained:
        findings.broken.append(f"{unexplained} messages were delivered again without a reason")
    if same_attempt:
        findings.broken.append(f"{same_attempt} messages were delivered twice under the same attempt number")


def _look_at_the_effects(
    findings: Findings, evidence: Evidence, processes: Sequence[Process], confirmed: set[str]
) -> None:
    """Count the effects, and compare each with the input."""
    if findings.semantics == EXACTLY_ONCE:
        effects = _effects_in_the_table(evidence.database, processes)
    else:
        effects = _effects_in_the_journals(processes)
    for share, _, _ in effects:
        share.applied += 1
    counts = Counter(guid for _, guid, _ in effects)
    findings.applied = len(effects)
    findings.lost = len(confirmed - counts.keys())
    findings.duplicated = len(effects) - len(counts)
    digests = {guid: hashlib.sha256(body).hexdigest() for guid, body in evidence.bodies.items()}
    for _, guid, digest in effects:
        if digests.get(guid) != digest:
            findings.broken.append(f"the effect for {guid} is not of the body that was sent under this GUID")


def _effects_in_the_journals(processes: Iterable[Process]) -> list[tuple[Share, str, str]]:
    return [
        (process.share, entry.guid, entry.details[0])
        for process in processes
        for entry in process.entries
        if entry.verb == APPLIED
    ]


def _effects_in_the_table(database: Path, processes: Iterable[Process]) -> list[tuple[Share, str, str]]:
    shares = {process.name: process.share for process in processes}
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT worker, guid, body FROM webhook_event ORDER BY rowid").fetchall()
    return [(shares[worker], guid, hashlib.sha256(body).hexdigest()) for worker, guid, body in rows]


def _look_at_the_file(findings: Findings, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
    if answer != "ok":
        findings.broken.append(f"the database file is damaged: {answer}")


def _judge(findings: Findings, kills_wanted: int, repeated: int) -> None:
    """Hold the counts against the promise, and against what must have happened for them to mean anything."""
    if findings.semantics == AT_MOST_ONCE:
        _must_be_zero(findings, "duplicated")
        if findings.lost == 0:
            findings.unproven.append("no message was lost under at-most-once, so that no kill hit a message in hand")
    elif findings.semantics == AT_LEAST_ONCE:
        _must_be_zero(findings, "lost")
        if findings.duplicated == 0:
            findings.unproven.append("no message was duplicated under at-least-once, so that nothing came again late")
    else:
        _must_be_zero(findings, "lost")
        _must_be_zero(findings, "duplicated")
        if repeated == 0:
            findings.unproven.append("no message was delivered again under exactly-once")
    if findings.kills_survived < max(kills_wanted, 1):
        findings.unproven.append(
            f"{findings.kills_survived} kills hit a worker in the middle of a message, "
            f"and {max(kills_wanted, 1)} had to"
        )
    if findings.semantics != AT_MOST_ONCE and findings.kills_with_effect == 0:
        findings.unproven.append("no worker was killed between the effect and the acknowledgement")
    for language, share in findings.shares.items():
        _must_have_taken_part(findings, language, share)
    if findings.sends_in_doubt == 0:
        findings.unproven.append("no sender was killed in the middle of a send")
    if findings.repeats_recognised == 0:
        findings.unproven.append("no repeated send was recognised as a duplicate")


def _must_have_taken_part(findings: Findings, language: Language, share: Share) -> None:
    if share.sent == 0:
        findings.unproven.append(f"nothing was sent in {language}")
    if share.delivered == 0:
        findings.unproven.append(f"nothing was delivered to a worker in {language}")
    if share.applied == 0:
        findings.unproven.append(f"no message was applied in {language}")
    if share.kills_survived == 0:
        findings.unproven.append(f"no worker in {language} was killed in the middle of a message")


def _must_be_zero(findings: Findings, column: str) -> None:
    count = getattr(findings, column)
    if count:
        findings.broken.append(f"{findings.semantics} promises {column} = 0, and {count} were found")
