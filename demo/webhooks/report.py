"""The table at the end, its legend, and the verdict."""

from collections.abc import Sequence

from webhooks.audit import Findings

HELD = 0
BROKEN = 1
UNPROVEN = 3

COLUMNS = (
    ("sent", "sent", "calls of send that were begun, by all sender processes, every repeat included"),
    ("distinct", "distinct", "different webhooks among them (by delivery GUID) whose send was confirmed"),
    ("delivered", "delivered", "times that a message was handed to a handler"),
    ("applied", "applied", "effects found afterwards: lines in the workers' journals, or rows for exactly-once"),
    ("lost", "lost", "distinct webhooks without any effect"),
    ("duplicated", "duplicated", "effects beyond the first one of the same webhook"),
    (
        "kills survived",
        "kills_survived",
        "SIGKILLs that hit a worker in the middle of a message (handed over, not finished)",
    ),
)
"""Heading, field of `Findings`, meaning."""


SHARE_COLUMNS = (
    ("sent", "sent"),
    ("delivered", "delivered"),
    ("applied", "applied"),
    ("killed at work", "kills_survived"),
    ("of these with effect", "kills_with_effect"),
    ("senders killed", "senders_killed"),
)
"""Heading, field of `Share`."""


def table(rounds: Sequence[Findings]) -> str:
    """Lay out the counts, one line for each promise."""
    lines = [f"{'':<14}" + "".join(f"{heading:>{len(heading) + 3}}" for heading, _, _ in COLUMNS)]
    for findings in rounds:
        cells = (f"{getattr(findings, name):>{len(heading) + 3}}" for heading, name, _ in COLUMNS)
        lines.append(f"{findings.semantics:<14}" + "".join(cells))
    return "\n".join(lines)


def shares(rounds: Sequence[Findings]) -> str:
    """Lay out which language did what, one line for each promise and language."""
    lines = [f"{'':<14}{'':<6}" + "".join(f"{heading:>{len(heading) + 3}}" for heading, _ in SHARE_COLUMNS)]
    for findings in rounds:
        for language, share in findings.shares.items():
            cells = (f"{getattr(share, name):>{len(heading) + 3}}" for heading, name in SHARE_COLUMNS)
            lines.append(f"{findings.semantics:<14}{language:<6}" + "".join(cells))
    return "\n".join(lines)


def legend() -> str:
    """Say what each column means."""
    return "\n".join(f"  {heading:<15} {meaning}" for heading, _, meaning in COLUMNS)


def details(findings: Findings) -> str:
    """Say what else happened in a round, in one line."""
    return (
        f"  {findings.semantics:<15} {findings.repeats_recognised} repeated sends recognised by their key; "
        f"{findings.senders_killed} senders killed, {findings.sends_in_doubt} of them in the middle of a send; "
        f"{findings.kills_with_effect} workers killed between effect and acknowledgement, "
        f"{findings.kills_between_messages} between two messages"
    )


def verdict(rounds: Sequence[Findings]) -> tuple[int, str]:
    """Return the exit status and the last lines."""
    broken = [f"promise broken: {findings.semantics}: {reason}" for findings in rounds for reason in findings.broken]
    if broken:
        return BROKEN, "\n".join(broken)
    unproven = [f"{findings.semantics}: {reason}" for findings in rounds for reason in findings.unproven]
    if unproven:
        return UNPROVEN, "\n".join(f"the demo proved nothing: {reason}" for reason in unproven)
    return HELD, "Every promise held."
