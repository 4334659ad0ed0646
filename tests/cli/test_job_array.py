"""plan, build --task and seal as commands in processes of their own, some of which are killed."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from tests.waiting import LONG_S

ROOT = Path(audiochunk.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
OPTIONS = ["--shard-size", "32k", "--split", "train=0.7,val=0.3"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def start(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "audiochunk", *map(str, arguments)]
    env = {**ENVIRONMENT, **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=env, text=True, start_new_session=True, **pipes)


# A command that stops in the middle of a shard, after it has made so many, and says so.
STOPS = """
import sys, time
from audiochunk.cli import main
from audiochunk.pipeline import shards

left, write = [int(sys.argv.pop(1))], shards._write

def write_and_stop(task, file):
    written = write(task, file)
    left[0] -= 1
    if left[0] < 0:
        print("there", flush=True)
        time.sleep(3600)
    return written

shards._write = write_and_stop
main()
"""


def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    with start(*arguments, **environment) as process:
        out, err = process.communicate(timeout=LONG_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    folder = tmp_path / "wavs"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(8):
        noise = rng.integers(-9000, 9000, (60_000, 1 + number % 2), np.int16)
        sf.write(folder / f"{number}.flac", noise, 16_000)
    return folder


@pytest.fixture
def expected(wavs: Path) -> dict[str, bytes]:
    assert run("build", wavs, "--out", wavs.parent / "one", *OPTIONS).returncode == 0
    return files_of(wavs.parent / "one")


def test_plan_tasks_at_once_and_seal_make_the_bytes_of_a_build(
    wavs: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    done = run("plan", wavs, "--out", out, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"planned {out}:")
    assert f"next: audiochunk build --out {out} --task I/N" in done.stdout
    tasks = [start("build", "--out", out, "--task", f"{n}/4") for n in (0, 1, 2, 3, 1)]
    for task in tasks:
        printed, said = task.communicate(timeout=LONG_S)
        assert task.returncode == 0, said
        assert printed.startswith(f"{out}: task ")
    done = run("seal", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"sealed {out} in ")
    assert "interrupted" not in done.stdout
    assert files_of(out) == expected
    assert run("seal", "--out", out).stdout == f"{out} is sealed already\n"


def test_a_task_that_comes_after_the_seal_has_nothing_left_to_do(
    wavs: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    run("plan", wavs, "--out", out, *OPTIONS)
    assert json.loads(run("build", "--out", out, "--task", "0/1", "--json").stdout)["sealed"] is False
    run("seal", "--out", out)
    done = run("build", "--out", out, "--task", "0/4")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{out} is sealed already; nothing is left to do for task 0/4\n"
    late = json.loads(run("build", "--out", out, "--task", "0/4", "--json").stdout)
    assert (late["sealed"], late["shards"], late["chunks"]) == (True, [], 0)
    assert files_of(out) == expected
    # A plan for another dataset in the same folder is no reason to stop.
    run("plan", wavs, "--out", out, *OPTIONS, "--bits", "16", "--overwrite")
    assert "task 0/4: " in run("build", "--out", out, "--task", "0/4").stdout
    (out / "manifest.json").write_text("{")
    (out / ".build" / "plan.msgpack").unlink()
    assert run("build", "--out", out, "--task", "0/4").returncode == 5


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_planned_and_not_sealed_is_told_from_an_interrupted_build(
    wavs: Path, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    run("plan", wavs, "--out", out, *OPTIONS)
    said = "planned, not sealed: run its tasks (`audiochunk build --task`), then `audiochunk seal`"
    done = run(command, out)
    assert (done.returncode, done.stderr) == (4, f"audiochunk: {out}: {said}\n")
    (out / ".build" / "plan.msgpack").rename(out / ".build" / "sealing.msgpack")
    done = run(command, out)
    assert done.returncode == 4
    assert "its seal is not finished: run `audiochunk seal` again" in done.stderr
    (out / ".build" / "sealing.msgpack").unlink()
    assert "this build is not finished: run it again" in run(command, out).stderr


def test_tasks_that_are_killed_are_run_again(wavs: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    run("plan", wavs, "--out", out, *OPTIONS)
    work, made = out / ".build", 0
    for shards in (0, 1, 3):
        command = [sys.executable, "-c", STOPS, str(shards), "build", "--out", out, "--task", "0/2", "--workers", "1"]
        with subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            os.killpg(process.pid, signal.SIGKILL)
        made += shards
        assert len(list(work.glob("*.safetensors.json"))) == made
        assert list(work.glob("*.tmp"))
    done = run("seal", "--out", out)
    assert done.returncode == 4
    assert "shards are not there" in done.stderr
    for number in range(2):
        assert run("build", "--out", out, "--task", f"{number}/2").returncode == 0
    assert run("seal", "--out", out).returncode == 0
    assert files_of(out) == expected


def test_json_of_every_step(wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = json.loads(run("plan", wavs, "--out", out, *OPTIONS, "--json").stdout)
    first = run("build", "--out", out, "--task", "0/2", "--json")
    assert first.returncode == 0
    unsealed = run("seal", "--out", out, "--json")
    assert unsealed.returncode == 4
    assert json.loads(unsealed.stdout) == {"missing": list(range(1, plan["shards"], 2)), "shards": plan["shards"]}
    assert "shards are not there: 1,3,5," in unsealed.stderr
    task = json.loads(run("build", "--out", out, "--task", "0/1", "--json").stdout)
    assert len(task["shards"]) == plan["shards"]
    assert (task["task"], task["chunks"], task["failed"]) == ("0/1", plan["chunks"], [])
    sealed = json.loads(run("seal", "--out", out, "--json").stdout)
    assert (sealed["chunks"], sealed["recordings"]) == (plan["chunks"], plan["recordings"])
    assert json.loads(run("seal", "--out", out, "--json").stdout) == {"sealed": True}


def test_numbers_of_shards_are_told_as_one_or_many(wavs: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    run("plan", wavs, "--out", out, *OPTIONS)

    def damage(*numbers: int) -> None:
        for number in numbers:
            with (out / ".build" / f"train-0000{number}.safetensors").open("r+b") as file:
                file.write(b"x")

    run("build", "--out", out, "--task", "0/99")
    assert ": task 0/99: 1 shard, 1 of them was there, " in run("build", "--out", out, "--task", "0/99").stdout
    run("build", "--out", out, "--task", "0/1")
    damage(0)
    assert " 1 shard of tasks did not fit or was damaged, and was built again\n" in run("seal", "--out", out).stdout
    for numbers, said in (
        ([1], " 1 shard of an interrupted build did not fit or was damaged, and was built again\n"),
        ([1, 2], " 2 shards of an interrupted build did not fit or were damaged, and were built again\n"),
    ):
        shutil.rmtree(out)
        run("plan", wavs, "--out", out, *OPTIONS)
        assert " of them were there" not in run("build", "--out", out, "--task", "0/1").stdout
        assert " of them were there, " in run("build", "--out", out, "--task", "0/1").stdout
        damage(*numbers)
        assert said in run("build", wavs, "--out", out, *OPTIONS).stdout
    assert files_of(out) == expected


def test_a_refused_recording_is_an_exit_code_of_3_at_the_plan_and_the_seal(wavs: Path, tmp_path: Path) -> None:
    (wavs / "text.wav").write_text("no audio")
    out = tmp_path / "out"
    assert run("plan", wavs, "--out", out).returncode == 4
    assert run("plan", wavs, "--out", out, "--on-error", "skip").returncode == 3
    assert run("build", "--out", out, "--task", "0/1").returncode == 0
    done = run("seal", "--out", out)
    assert done.returncode == 3
    assert "skipped 1:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "1/1"), "task is auto, or I/N"),
        (("--task", "auto"), "SLURM_ARRAY_TASK_ID"),
        (("wavs", "--task", "0/1"), "INPUT does not go with --task"),
        (("--task", "0/1", "--bits", "16"), "--bits does not go with --task"),
        (("--task", "0/1", "--split", "train=1"), "--split does not go with --task: the plan has decided"),
        (
            ("--task", "0/1", "--overwrite"),
            "--overwrite does not go with --task: a task replaces no dataset; say it to",
        ),
        (("--task", "0/1", "--executor", "dask://a:1"), "--executor does not go with --task: a task runs in processes"),
        (("--task", "0/1", "--append"), "--append does not go with --task: a plan is of a whole dataset"),
        (("--task", "0/1", "--dry-run"), "--dry-run does not go with --task: `audiochunk plan` has said"),
        ((), "give INPUT, the folder of recordings; or --task"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    environment = {"SLURM_ARRAY_TASK_ID": ""}
    done = run("build", "--out", tmp_path / "out", *arguments, **environment)
    assert done.returncode == 2
    assert message in done.stderr


def test_nothing_planned_is_an_input_that_cannot_be_used(tmp_path: Path) -> None:
    for command in (("seal",), ("build", "--task", "0/1")):
        done = run(*command, "--out", tmp_path / "out")
        assert done.returncode == 4
        assert "nothing is planned here: run `audiochunk plan` first" in done.stderr
        assert not (tmp_path / "out").exists()


def test_the_slurm_scripts_build_and_seal(wavs: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    """With an `sbatch` that runs what it is given at once, with the variables that Slurm sets."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        """#!/bin/bash
set -e
array=; script=
for argument; do
    case $argument in
        --array=*) array=${argument#--array=} ;;
        --*) ;;
        *) script=$argument ;;
    esac
done
if [ -n "$array" ]; then
    for id in $(seq "${array%-*}" "${array#*-}"); do
        SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_MIN=${array%-*} SLURM_ARRAY_TASK_STEP=1 \\
            SLURM_ARRAY_TASK_COUNT=$((${array#*-} - ${array%-*} + 1)) bash "$script" >&2
    done
else
    bash "$script" >&2
fi
echo 17
"""
    )
    program = sbatch.with_name("audiochunk")
    program.write_text(f'#!/bin/bash\nexec {sys.executable} -m audiochunk "$@"\n')
    for file in (sbatch, program):
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{sbatch.parent}:{os.environ['PATH']}", "TASKS": "3"}
    command = ["bash", ROOT / "examples" / "slurm" / "build.sh", wavs, tmp_path / "out", *OPTIONS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("tasks: job 17, 0 to 2; seal: job 17\n")
    assert files_of(tmp_path / "out") == expected
