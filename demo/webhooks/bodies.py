"""The input: the webhook bodies of the npm package `@octokit/webhooks-examples`, one delivery for each.

The package is data only. It keeps the bodies pretty-printed in one JSON file; a webhook source sends them compact, so
that is how they are encoded here. Five of the 329 bodies are byte for byte the same as another one: what tells two
deliveries apart is their GUID, as with a real source, never their body.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BODIES_MAX = 329
"""How many bodies the locked version of the package holds."""

EXAMPLES_FILE = Path("node_modules/@octokit/webhooks-examples/api.github.com/index.json")
"""Where npm puts them, below the demo's folder."""

DEMO_FOLDER = Path(__file__).resolve().parents[1]
"""The folder that holds this package and its `node_modules`."""


class InputMissingError(Exception):
    """The package is not installed, or it is another version than the locked one."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One delivery of the source: what every repeated send of it carries."""

    guid: str
    event: str
    body: bytes


def load_webhooks(count: int = BODIES_MAX, demo_folder: Path = DEMO_FOLDER) -> list[Webhook]:
    """Read the first `count` webhooks, always the same ones in the same order."""
    path = demo_folder / EXAMPLES_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputMissingError(f"{path} is missing: run `npm ci` in {demo_folder}, or `make setup`") from None
    webhooks = [
        Webhook(guid=_guid(index, kind), event=kind, body=body)
        for index, (kind, body) in enumerate(
            (event["name"], json.dumps(example, ensure_ascii=False, separators=(",", ":")).encode())
            for event in json.loads(text)
            for example in event["examples"]
        )
    ]
    if len(webhooks) != BODIES_MAX:
        raise InputMissingError(
            f"{path} holds {len(webhooks)} bodies instead of {BODIES_MAX}: run `npm ci` in {demo_folder}"
        )
    return webhooks[:count]


def write_webhooks(path: Path, webhooks: Iterable[Webhook]) -> None:
    """Write webhooks for the senders, each as a line of GUID, event and body: a compact body holds no line break."""
    path.write_bytes(b"".join(b"%b %b %b\n" % (one.guid.encode(), one.event.encode(), one.body) for one in webhooks))


def read_webhooks(path: Path) -> list[Webhook]:
    """Read what `write_webhooks` wrote."""
    parts = (line.split(b" ", 2) for line in path.read_bytes().split(b"\n")[:-1])
    return [Webhook(guid.decode(), event.decode(), body) for guid, event, body in parts]


def _guid(index: int, event: str) -> str:
    """Name a delivery the way the source does, but the same in every run."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"{index} {event}".encode()).digest()[:16], version=4))
