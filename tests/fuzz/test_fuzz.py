"""The fuzz targets over their seeds, and over seeds with a little damage; and what fuzzing has found, by name."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import seeds
from targets import TARGETS

SEEDS = {name: list(seeds(name)) for name in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_taken_or_refused_and_some_are_taken(target: str) -> None:
    taken = [TARGETS[target](seed) for seed in SEEDS[target]]
    assert any(taken)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_not_accepted_but_as_an_empty_table(target: str) -> None:
    assert TARGETS[target](b"") == (target == "recordings")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("target", TARGETS)
@given(data=st.data())
def test_a_little_damage_is_refused_with_one_of_our_errors(target: str, data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS[target])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(seed)))
        seed[at : at + data.draw(st.sampled_from([0, 1, 4, 8]))] = data.draw(
            st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff" * 8, b"\xff" * 4, bytes(4), b"\x80", b"\x7f"]))
        )
    TARGETS[target](bytes(seed))
