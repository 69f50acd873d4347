"""``python -m tests.docs.refresh`` writes the README's tables anew from the program and the newest committed run."""

from tests.docs.tables import README, refreshed

if __name__ == "__main__":
    README.write_text(refreshed(README.read_text(encoding="utf-8")), encoding="utf-8")
