"""What a person does about payments in doubt: `python resolve.py FOLDER alice`.

Looks each up in the bank's own log and says what is there, and who looked. The payments then go on by themselves: one
that was made is acknowledged, one that was not is made. Run it when nothing can be under way to the bank any more: the
callers are dead (else their payments would not be in doubt), and what they sent has been carried out or was lost.
"""

import sys
from pathlib import Path

import client
import onceward
from audit import all_in_doubt, transfers
from onceward import NOT_APPLIED, Applied


def resolve_all(folder: Path, actor: str) -> int:
    """Resolve every doubt from the bank's log, and return how many there were."""
    entries = {entry["reference"]: entry for entry in transfers(folder)}
    count = 0
    with onceward.open(folder / "store.db", create=False) as store:
        for doubt in all_in_doubt(store):
            assert doubt.key is not None
            entry = entries.get(doubt.key)
            if entry is None:
                store.resolve(doubt.doubt, NOT_APPLIED, evidence="bank.log: no such transfer", actor=actor)
            else:
                evidence = f"bank.log: transfer {entry['transfer']}"
                store.resolve(doubt.doubt, Applied(client.receipt(entry)), evidence=evidence, actor=actor)
            count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(f"resolved: {resolve_all(Path(sys.argv[1]), sys.argv[2])}")
