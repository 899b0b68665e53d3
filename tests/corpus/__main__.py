"""Write the corpus into a folder: `python -m tests.corpus FOLDER`, for use by hand and by the comparison of verifiers.

FOLDER/MW208/broken/*.whl, FOLDER/MW208/near-miss/*.whl and so on; FOLDER/corpus.json says what each of them breaks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="an empty or new one; it takes 200 MiB")
    folder = parser.parse_args().folder
    tests = str(Path(__file__).resolve().parent.parent)
    if tests not in sys.path:  # pytest has it there
        sys.path.insert(0, tests)
    from corpus.generator import CASES, write_corpus

    write_corpus(folder)
    print(f"{2 * len(CASES)} wheels and sets of wheels in {folder}")


if __name__ == "__main__":
    main()
