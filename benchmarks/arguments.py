"""What all scripts here are told on the command line."""

import argparse
import sys
import tempfile
from pathlib import Path


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all scripts have, described by the script's docstring."""
    common = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = common.add_argument
    corpora = Path(tempfile.gettempdir()) / "audiochunk-corpora"
    add("--share", type=float, default=0.1, help="of the full size: 1.58, 0.32, 1.04 and 0.38 GB (default %(default)s)")
    add("--rounds", type=int, default=5, help="rounds that count (default %(default)s)")
    add("--peers-python", default=sys.executable, help="interpreter that has the peers (default: this one)")
    add("--corpora", type=Path, default=corpora, help="folder to keep the recordings in (default %(default)s)")
    add("--scratch", type=Path, help="folder to build in (default: a temporary one)")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for Markdown and JSON")
    return common
