"""Rules of the source tree itself that no compiler knows: `python scripts/check_tree.py [FOLDER]`.

Each finding is one line, `path:line: what is wrong`; the exit status is 1 when there is any.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

SKIPPED_FOLDERS = frozenset({".git", "target", "build", "node_modules", ".venv", "__pycache__"})
"""Folders that hold nothing of ours; those that start with a dot and end with `_cache` are skipped as well."""

REQUIRED = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "Cargo.lock", "Makefile")
ARCHITECTURE_LINES_MAX = 199
SOURCE_LINES_MAX = 600
SOURCE_SUFFIXES = frozenset({".rs", ".py", ".pyi", ".c", ".h", ".ts", ".js", ".mjs", ".cjs"})
BINARY_SUFFIXES = frozenset({".so", ".node", ".pyc", ".png", ".whl", ".gz", ".db"})
GENERATED = frozenset({"Cargo.lock", "package-lock.json", "LICENSE-APACHE", "onceward.h"})
"""Files that tools or others wrote; the rules about lines and length do not hold for them."""

HOSTS = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com", "crates" + ".io")
LINE_RULES = (
    (re.compile(r"(?<![\w./$\-])/(?:work|root|home)/"), "a path of one machine"),
    (re.compile("|".join(re.escape(host) for host in HOSTS)), "the host of a package registry"),
    (re.compile(r"\b(?:issue|fix(?:es|ed)?|close[sd]?|see|bug|PR)\s+#\d+", re.IGNORECASE), "the number of an issue"),
    (re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"), "an unfinished thought"),
    (re.compile(r"[ \t]+$"), "white space at the end of a line"),
)


def source_files(root: Path) -> Iterator[Path]:
    """Yield every text file of the tree."""
    for path in sorted(root.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            if path.name not in SKIPPED_FOLDERS and not (path.name.startswith(".") and path.name.endswith("_cache")):
                yield from source_files(path)
        # In a worktree .git is a file, and names the machine's paths.
        elif path.suffix not in BINARY_SUFFIXES and path.name not in SKIPPED_FOLDERS:
            yield path


def check_file(path: Path, name: str) -> Iterator[str]:
    """Yield what is wrong with one file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield f"{name}:1: not UTF-8"
        return
    lines = text.splitlines()
    if path.name not in GENERATED:
        for number, line in enumerate(lines, start=1):
            for pattern, what in LINE_RULES:
                if pattern.search(line):
                    yield f"{name}:{number}: {what}: {line.strip()[:80]}"
        if text and not text.endswith("\n"):
            yield f"{name}:{len(lines)}: no newline at the end"
    if path.suffix in SOURCE_SUFFIXES and path.name not in GENERATED and len(lines) > SOURCE_LINES_MAX:
        yield f"{name}:{len(lines)}: more than {SOURCE_LINES_MAX} lines, split it"
    if name == "ARCHITECTURE.md" and len(lines) > ARCHITECTURE_LINES_MAX:
        yield f"{name}:{len(lines)}: more than {ARCHITECTURE_LINES_MAX} lines"


def check_makefile(root: Path) -> Iterator[str]:
    """Yield the targets that `make help` does not explain."""
    path = root / "Makefile"
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    phony = {target for line in re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE) for target in line.split()}
    explained = set(re.findall(r"^([\w-]+):.*## ", text, re.MULTILINE))
    for target in sorted(phony - explained):
        yield f"Makefile:1: the target {target} is not explained in `make help`"


def check(root: Path) -> list[str]:
    """Return everything that is wrong with the tree."""
    findings = [f"{name}:1: missing" for name in REQUIRED if not (root / name).exists()]
    for path in source_files(root):
        findings.extend(check_file(path, path.relative_to(root).as_posix()))
    findings.extend(check_makefile(root))
    return findings


def main() -> int:
    """Check the given tree, or the one that this file is in."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    findings = check(root)
    print("\n".join(findings) or "the tree keeps its rules")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
