"""What tests of several packages share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no finding.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

BESIDE_THE_REPO = Path(__file__).resolve().parents[1].parent / "shared" / "audio"


def pytest_configure() -> None:
    """Have commands be interrupted where a shell lets nobody interrupt these tests, as in the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """What a test changes about signals would reach those that come after it, and the processes they begin."""
    before = _signals()
    yield
    assert _signals() == before


def _signals() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] + [signal.pthread_sigmask(0, [])]


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings: AUDIOCHUNK_TEST_AUDIO, or the one that lies beside the repository."""
    named = os.environ.get("AUDIOCHUNK_TEST_AUDIO")
    folder = Path(named) if named else BESIDE_THE_REPO
    if named and not folder.is_dir():
        pytest.fail(f"AUDIOCHUNK_TEST_AUDIO={named} is not a folder")
    if not folder.is_dir():
        pytest.skip("no real recordings: set AUDIOCHUNK_TEST_AUDIO")
    return folder
