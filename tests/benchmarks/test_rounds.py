import sys
from pathlib import Path

import processes
import pytest
from processes import CommandError, Run, run
from rounds import Contender, Measured, marginal, median, ratio, run_rounds


def measured(*seconds: float) -> Measured:
    return Measured("someone", [Run(one, None, {}) for one in seconds])


def test_ratio_is_the_median_of_the_rounds() -> None:
    assert ratio([1, 1, 4], [2, 4, 4]) == 0.5


def test_ratio_takes_the_rounds_of_both() -> None:
    assert ratio([1, 2, 3], [10, 10]) == pytest.approx(0.15)


def test_without_rounds_there_is_no_ratio() -> None:
    assert ratio([1], []) is None
    assert median([]) is None


def test_marginal_leaves_out_what_both_sizes_cost() -> None:
    assert marginal((measured(1.0), measured(1.3)), (measured(5.0), measured(5.6))) == pytest.approx(0.5)


def test_more_work_in_less_time_is_no_marginal() -> None:
    assert marginal((measured(1.0), measured(1.3)), (measured(5.6), measured(5.0))) is None


def python(name: str, code: str, **more: object) -> Contender:
    return Contender(name, [sys.executable, "-c", code], **more)  # type: ignore[arg-type]


def test_contenders_take_turns_in_both_directions(tmp_path: Path) -> None:
    log = tmp_path / "log"
    field = [python(name, f"open({str(log)!r}, 'a').write({name!r})") for name in "ab"]
    run_rounds(field, rounds=2)
    assert log.read_text() == "ab" + "ab" + "ba"


def test_output_is_gone_before_each_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (one,) = run_rounds([python("maker", f"import os; os.mkdir({str(out)!r})", out=out)], rounds=2)
    assert (one.refused, len(one.runs), out.exists()) == ("", 2, False)


def test_who_fails_is_refused_with_his_words() -> None:
    one, other = run_rounds([python("bad", "raise SystemExit('no luck')"), python("good", "")], rounds=1)
    assert one.refused.endswith("ended with 1: no luck")
    assert (one.runs, len(other.runs)) == ([], 1)


def test_who_takes_part_in_fewer_rounds_has_fewer_runs() -> None:
    (one,) = run_rounds([python("slow", "", max_rounds=1)], rounds=2)
    assert len(one.runs) == 1


def test_a_command_is_timed_by_its_own_clock_too() -> None:
    one = run([sys.executable, "-c", "print('noise'); print('{\"seconds\": 0.5}')"])
    assert (one.inside, one.said) == (0.5, {"seconds": 0.5})


def test_a_command_that_fails_raises() -> None:
    with pytest.raises(CommandError, match="ended with 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"])


def test_memory_of_children_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look, seen = processes._kilobytes, tmp_path / "seen"

    def noted(path: str, key: bytes) -> int:
        found = look(path, key)
        if found > 60_000 and key == b"VmHWM:":
            seen.touch()
        return found

    monkeypatch.setattr(processes, "_kilobytes", noted)
    child = f"import os, time; x = b'x' * 60_000_000\nwhile not os.path.exists({str(seen)!r}): time.sleep(0.01)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    memory = run([sys.executable, "-c", code], watch_memory=True).memory
    assert memory is not None
    assert memory.parent < 60 < memory.worker
    assert memory.tree > 60
