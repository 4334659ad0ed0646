"""docs/training.md and docs/orders.md: what they show runs, what they state is so."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import audiochunk
from audiochunk.reader import keyed

ROOT = Path(audiochunk.__file__).parents[1]
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TRAINING, re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `make dataset` leaves it."""
    folder = tmp_path_factory.mktemp("training")
    subprocess.run([sys.executable, ROOT / "examples" / "make_wavs.py", "wavs"], cwd=folder, check=True)
    options = re.search(r"^OPTIONS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert options
    command = [sys.executable, "-m", "audiochunk", "build", "wavs", "--out", "shards", "-q", *options[1].split()]
    subprocess.run(command, cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(workplace: Path, number: int) -> None:
    code = EXAMPLES[number]
    for name in re.findall(r"^(?:import|from) (torch|grain)", code, re.MULTILINE):
        if find_spec(name) is None:
            pytest.skip(f"needs {name}")
    if "integrations.torch" in code and find_spec("torch") is None:
        pytest.skip("needs torch")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=workplace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# What makes the examples of the last section short, and what they need.
SHORT = {
    "train_torch.py": ("torch", "--steps 4 --batch-size 2 --eval-chunks 6 --width 32 --depth 1"),
    "train_jax.py": (
        "jax",
        "--steps 2 --batch-size 2 --eval-chunks 4 --width 16 --depth 1",
    ),
    "compress_with_lm.py": ("constriction", "--chunks 2"),
}


def test_examples_train_on_the_samples_and_compress_them(workplace: Path) -> None:
    """The commands as they are shown, one after the other, for a few steps."""
    commands = re.findall(r"^python (examples/(\w+\.py) [^#\n]*)", TRAINING, re.MULTILINE)
    assert [name for _, name in commands] == ["train_torch.py", "train_jax.py", "compress_with_lm.py"]
    if missing := [needed for needed, _ in SHORT.values() if find_spec(needed) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    for command, name in commands:
        words = [
            sys.executable,
            "-W",
            "error",
            ROOT / command.split()[0],
            *command.split()[1:],
            *SHORT[name][1].split(),
        ]
        done = subprocess.run(words, cwd=workplace, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = "decoded bytes are equal" if name.startswith("compress") else "model:scores"
        assert said in done.stdout


LINK = re.compile(r"\]\(([^)\s]+)\)")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*/*.md")]


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            target, _, anchor = link.partition("#")
            file = page.parent / target if target else page
            assert file.exists(), link
            assert not anchor or anchor in anchors(file), link


def test_docs_that_are_named_in_the_code_are_there() -> None:
    for module in (ROOT / "audiochunk").rglob("*.py"):
        for name in re.findall(r"\bdocs/[\w.]+\.md\b", module.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), (module, name)


def test_the_order_of_the_state_that_is_shown_is_that_of_the_samples(workplace: Path) -> None:
    ds = audiochunk.open(workplace / "shards")
    state = audiochunk.Sampler(ds, batch_size=32).state_dict()
    assert f'`"{state["order"]}"`' in TRAINING
    for key in state:
        assert f"`{key}`" in TRAINING


def test_the_keys_of_the_page_on_orders_are_so() -> None:
    page = (ROOT / "docs" / "orders.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(word|key)\(([\d, ]+)\)` \| `0x([0-9A-F]+)` \|$", page, re.MULTILINE)
    assert len(found) == 3
    import numpy as np

    for kind, arguments, value in found:
        numbers = [int(number) for number in arguments.split(",")]
        if kind == "key":
            assert keyed.derive(*numbers) == int(value, 16)
        else:
            assert keyed.words(numbers[0], np.array(numbers[1:])).tolist() == [int(value, 16)]


def test_the_orders_of_the_page_are_so() -> None:
    import numpy as np

    from audiochunk.reader.permutation import Permutation

    page = (ROOT / "docs" / "orders.md").read_text(encoding="utf-8")
    shown = re.findall(r"`order\((10+|10¹²), key\(7, 1, 0\)\)` (?:is|begins with|with)\s+([\d, ]+)\.?", page)
    shown += re.findall(r"`order\((10¹²), key\(7, 1, 0\)\)` with\s+([\d, ]+)", page)
    assert {n for n, _ in shown} == {"10", "100000", "10¹²"}
    for n, numbers in shown:
        expected = [int(number) for number in numbers.strip(", ").split(",")]
        order = Permutation(10**12 if n == "10¹²" else int(n), keyed.derive(7, 1, 0))
        assert order(np.arange(len(expected))).tolist() == expected
