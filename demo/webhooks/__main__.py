"""`python -m webhooks`: the command line.

Exit status: 0 every promise held; 1 a promise is broken; 2 wrong usage; 3 nothing was proved; 4 the demo could not run;
130 interrupted.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from webhooks import interruption, languages, promises, report
from webhooks.audit import Evidence, Findings, audit
from webhooks.bodies import BODIES_MAX, InputMissingError, Webhook, load_webhooks, write_webhooks
from webhooks.child import DATABASE, INPUT, SABOTAGES
from webhooks.progress import ProgressLine
from webhooks.supervisor import STRIKES_UNTIL, Round, RoundFailedError, RoundOptions

CANNOT_RUN = 4
INTERRUPTED = 130

NUMBERS: tuple[tuple[str, int, int, int | None, str], ...] = (
    ("--bodies", 1, BODIES_MAX, BODIES_MAX, "webhooks to send"),
    ("--copies", 1, 20, 3, "times that each webhook is sent"),
    ("--senders", 1, 16, 3, "sender processes, dealt out to the languages"),
    ("--workers", 1, 16, 6, "worker processes, dealt out to the languages"),
    ("--kills", 0, 100, 24, "kills that must hit a worker at work, per promise"),
    ("--batch", 1, 50, 3, "messages that a worker takes at a time"),
    ("--seed", 0, 2**63 - 1, None, "what the random choices follow from"),
)
"""Option, least, most, default, meaning."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    options = _parse(arguments)
    interruption.install()
    folder = Path(tempfile.mkdtemp(prefix="onceward-demo-"))
    keep = options.keep
    try:
        status = _run(options, folder)
        keep = keep or (status == report.BROKEN and not options.sabotage)
    except KeyboardInterrupt:
        print("interrupted: every process is ended", file=sys.stderr)
        status = INTERRUPTED
    except InputMissingError as error:
        print(f"the demo could not run: {error}", file=sys.stderr)
        status = CANNOT_RUN
    except RoundFailedError as error:
        print(f"the demo could not run to its end: {error}", file=sys.stderr)
        status = CANNOT_RUN
        keep = True
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        print(f"the journals and the databases are in {folder}", file=sys.stderr)
    return status


def _run(options: argparse.Namespace, folder: Path) -> int:
    webhooks = load_webhooks(options.bodies)
    languages.require_built(options.languages)
    print(
        f"{len(webhooks)} webhooks, each sent {options.copies} times or more by {options.senders} processes, "
        f"out of order; {options.workers} workers.\n"
        f"Senders and workers are in {', '.join(options.languages)}, by turns, on one file.\n"
        f"Per promise, {options.kills} SIGKILLs must hit a worker at work. Seed {options.seed} "
        f"(--seed repeats the choices; the moments remain the machine's).",
        flush=True,
    )
    chosen = options.semantics or promises.ALL
    rounds = [_run_round(options, semantics, webhooks, folder / semantics) for semantics in chosen]
    print(f"\n{report.table(rounds)}\n\n{report.legend()}\n")
    print(f"Which language did what:\n\n{report.shares(rounds)}\n")
    print("\n".join(report.details(findings) for findings in rounds))
    status, text = report.verdict(rounds)
    print(f"\n{text}", flush=True)
    return status


def _run_round(
    options: argparse.Namespace, semantics: promises.Semantics, webhooks: Sequence[Webhook], folder: Path
) -> Findings:
    """Run one promise in a folder of its own and audit what is left there."""
    folder.mkdir()
    write_webhooks(folder / INPUT, webhooks)
    round_options = RoundOptions(
        semantics=semantics,
        folder=folder,
        seed=options.seed,
        bodies=len(webhooks),
        copies=options.copies,
        senders=options.senders,
        workers=options.workers,
        kills=options.kills,
        batch=options.batch,
        languages=options.languages,
        sabotage=options.sabotage,
        saboteurs=options.saboteurs,
    )
    with ProgressLine(round_options) as line:
        killed = Round(round_options, line.show).run()
    evidence = Evidence(
        semantics=semantics,
        folder=folder,
        database=folder / DATABASE,
        bodies={webhook.guid: webhook.body for webhook in webhooks},
        killed=frozenset(killed),
        kills_wanted=options.kills,
        languages=options.languages,
    )
    return audit(evidence)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m webhooks",
        description="Send real webhooks through the three promises while processes are killed, and count what is left.",
    )
    for name, least, most, default, meaning in NUMBERS:
        text = f"{meaning}: {least} to {most}, {'random' if default is None else default} unless given"
        parser.add_argument(name, type=_number(least, most), default=default, help=text)
    parser.add_argument("--semantics", action="append", choices=promises.ALL, help="this promise only; may be repeated")
    parser.add_argument(
        "--languages",
        type=_languages,
        default=languages.ALL,
        help=f"what senders and workers are written in: {','.join(languages.ALL)} unless given",
    )
    parser.add_argument("--sabotage", choices=SABOTAGES, default="", help="work wrongly, to see the auditor notice")
    parser.add_argument(
        "--saboteurs", type=_languages, help="the languages that do the sabotage: those of --languages unless given"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the journals and databases, as when a promise is broken",
    )
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = secrets.randbelow(1_000_000)
    options.saboteurs = options.saboteurs or options.languages
    if strangers := [name for name in options.saboteurs if name not in options.languages]:
        parser.error(f"--saboteurs {','.join(strangers)}: not among --languages {','.join(options.languages)}")
    for name, count in (("--senders", options.senders), ("--workers", options.workers)):
        if count < len(options.languages):
            parser.error(f"{name} {count} are too few for {len(options.languages)} languages")
    most_kills = int(STRIKES_UNTIL * options.bodies / (options.batch + 1))
    if options.kills > most_kills:
        parser.error(
            f"--kills {options.kills} are too many for --bodies {options.bodies} with --batch {options.batch}: "
            f"at most {most_kills}, because each may take the worker's whole batch with it"
        )
    return options


def _languages(text: str) -> tuple[languages.Language, ...]:
    names = text.split(",")
    for name in names:
        if name not in languages.ALL:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(languages.ALL)}")
    return tuple(language for language in languages.ALL if language in names)


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return parse


if __name__ == "__main__":
    sys.exit(main())
