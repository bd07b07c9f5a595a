"""Webhooks, at least once: each is kept until it was passed on, or it lies among the dead letters for a person to see.

    python webhooks.py hooks.db accept GUID < body   what a web server would do for each request
    python webhooks.py hooks.db work FOLDER          pass them on: here, write each into a folder
    python webhooks.py hooks.db dead                 list what was given up, and why
    python webhooks.py hooks.db redrive              offer all of that again, once the cause is gone

A webhook may be passed on twice when the worker dies at the wrong moment. That is harmless here, because the second
time writes the same file with the same content. Where it is not, use exactly-once.
"""

import json
import sys
from pathlib import Path

import onceward

IDLE_S = 1.0
"""`work` ends when nothing came for so long; a real worker would leave `wait` away and run for ever."""


def open_queue(store: onceward.Store) -> onceward.Queue:
    """Open the queue: three attempts, the second one after about 0.1 s."""
    retry = onceward.Backoff(first=0.1, factor=2.0, cap=60.0)
    return store.queue("webhooks", semantics="at-least-once", attempts_max=3, backoff=retry)


def accept(hooks: onceward.Queue, guid: str, body: bytes) -> None:
    """Keep one webhook. Once this returns it is safe to answer the source with 200; its repeats are recognised."""
    sent = hooks.send(body, key=guid)
    print(f"{guid}: {'had been accepted before' if sent.duplicate else 'accepted'}")


def work(hooks: onceward.Queue, folder: Path) -> None:
    """Pass webhooks on as they come."""
    with hooks.consume(wait=IDLE_S) as deliveries:
        for delivery in deliveries:
            try:
                json.loads(delivery.body)
                (folder / f"{delivery.key}.json").write_bytes(delivery.body)
            except ValueError as error:
                delivery.dead_letter(f"no JSON: {error}")  # It will not get better by trying again.
            except OSError as error:
                delivery.nack(error=str(error))  # It may: tried again later, given up after three attempts.
            else:
                delivery.ack()
                print(f"{delivery.key}: passed on at attempt {delivery.attempt}")


def dead(hooks: onceward.Queue) -> None:
    """List the dead letters."""
    for letter in hooks.dead_letters():
        print(f"{letter.key}: {letter.reason}; {letter.error or 'no error'}; attempts: {letter.attempts}")


def main(path: str, command: str, *arguments: str) -> None:
    """Run one command."""
    with onceward.open(path) as store:
        hooks = open_queue(store)
        match command, arguments:
            case "accept", (guid,):
                accept(hooks, guid, sys.stdin.buffer.read())
            case "work", (folder,):
                work(hooks, Path(folder))
            case "dead", ():
                dead(hooks)
            case "redrive", ():
                print(f"offered again: {hooks.redrive()}")
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
