"""Values of options that several examples take."""

import argparse


def positive(text: str) -> int:
    """A whole number above 0.

    >>> positive("12")
    12
    """
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text}")
