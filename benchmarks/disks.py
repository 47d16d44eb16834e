"""Commands on a disk that is full, or can only be read: one sentence, nothing half written, and later the same files.

python benchmarks/disks.py results/disks.json [COUNT [SEED [JOB ...]]]

It takes root on Linux, since it mounts disks in memory. Each job of kills.py runs once with room, which shows how much it takes
at its largest. Then it runs COUNT times (5) on a disk with a random part of that, and once on one that can only be read.
Outputs, caches, temporary files and what is fetched all lie on that disk; where photographs are filled, older pictures lie in
the place of the outputs. Then the disk gets its room, and the same command runs again. Jobs that are in the file already and
not measured stay in it. What is found is counted:

refused      the exit status is not 0, and the last line is a sentence that says what is wrong with the disk
done         exit 0 and all files are there: what was not written was only kept to be faster the next time
unclear      a traceback, or another last line
damaged      a file is not whole, or an older picture is neither what it was nor the new one
lost         exit 0, and a file is missing or another
left         temporary files are there after the command ended
failed       with room again, the same command does not end well
other        with room again, its files are others than those of the undisturbed run
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from kills import (
    JOBS,
    Work,
    files_of,
    find_damaged,
    find_others,
    finish,
    is_hidden,
    measure_into_file,
    prepare,
    read,
    run_again,
    start,
)
from PIL import Image

ROOM = 1 << 30  # bytes: more than any of them takes
WRONG = ("unclear", "damaged", "lost", "left", "failed", "other")
OUTCOMES = ("refused", "done", *WRONG)
CLEAR = re.compile(r"mend: .*(no space left|only be read|read-only)", re.IGNORECASE)


@contextmanager
def mount(case: Path, made: Path) -> Iterator[Path]:
    """A disk in memory, with a folder for temporary files, and a link to the inputs, which are elsewhere."""
    case.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", case], check=True)
    try:
        (case / "made").symlink_to(made, target_is_directory=True)
        (case / "tmp").mkdir()
        yield case
    finally:
        subprocess.run(["umount", case], check=True)
        case.rmdir()


def remount(case: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", case], check=True)


def used(case: Path) -> int:
    state = os.statvfs(case)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def lay_old(case: Path, names: Sequence[str]) -> None:
    """Older pictures by these names, so small that the room of new ones is not in them."""
    for name in names:
        (case / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(case / name)


def measure_need(work: Work, case: Path) -> int:
    """The bytes that a command takes at its largest, beyond those that are there before."""
    before = most = used(case)
    process = start(work, case)
    while process.poll() is None:
        most = max(most, used(case))
        time.sleep(0.002)
    assert process.returncode == 0, process.communicate()[1]
    return most - before


def judge(work: Work, case: Path, expected: dict[str, Any], old: Sequence[str]) -> tuple[str, str, list[str]]:
    """Run a command on a disk that hinders it: the outcome, what it said, and what is wrong."""
    there = {name: read(case / name) for name in old}
    code, said = finish(work, case)
    last = (said.splitlines() or [""])[-1].replace(str(case), "DISK")
    last = re.sub(r"\d{6,}|\d+\.part|[0-9a-f]{8,}", "N", last)
    if damaged := find_damaged(case):
        return "damaged", last, damaged
    if changed := [name for name in old if read(case / name) not in (there[name], expected[name])]:
        return "damaged", last, changed
    if "Traceback" in said or code not in (0, 1) or (code == 1 and not CLEAR.match(last)):
        return "unclear", last, said.splitlines()[-12:]
    if left := [name for name in files_of(case) if is_hidden(name) or name.startswith("tmp/")]:
        return "left", last, left
    if code == 1:
        return "refused", last, []
    others = find_others(case, expected)
    return ("lost" if others else "done"), last if others else "", others


def measure(count: int = 5, seed: int = 0, names: Sequence[str] = tuple(JOBS)) -> Iterator[dict[str, Any]]:
    """What came of the jobs so far, by name, after each; see the head of this file."""
    found: dict[str, Any] = {}
    with prepare(names) as root:
        os.environ["TMPDIR"] = "tmp"
        for name in names:
            rng = np.random.default_rng([seed, list(JOBS).index(name)])
            work, case = replace(JOBS[name], cache=True), root / "disk"
            with mount(case, root / "made"):
                need = measure_need(work, case)
                expected = {file: read(path) for file, path in files_of(case).items()}
            old = [file for file in expected if name.startswith("fill") and file.endswith((".png", ".jpg"))]
            counts: dict[str, Counter[str]] = {"full": Counter(), "read-only": Counter()}
            sentences, bad = Counter[str](), []
            for room in (*(rng.uniform(size=count) * need).astype(int), None):
                with mount(case, root / "made"):
                    lay_old(case, old)
                    kind = "read-only" if room is None else "full"
                    remount(case, "ro" if room is None else f"size={used(case) + max(int(room), 4096)}")
                    outcome, said, what = judge(work, case, expected, old)
                    remount(case, f"rw,size={ROOM}")
                    if outcome in ("refused", "done"):
                        again, others = run_again(work, case, expected)
                        outcome, what = (outcome, []) if again == "same" else (again, others)
                counts[kind][outcome] += 1
                sentences[said] += 1
                if outcome in WRONG:
                    bad.append({"kind": kind, "room": room and int(room), "outcome": outcome, "said": said, "what": what})
                    print(name, bad[-1], file=sys.stderr)
            outcomes = {kind: {outcome: n[outcome] for outcome in OUTCOMES} for kind, n in counts.items()}
            found[name] = {"seed": seed, "bytes": need, **outcomes, "said": sorted(filter(None, sentences)), "bad": bad}
            print(name, found[name], file=sys.stderr)
            yield found


if __name__ == "__main__":
    measure_into_file(measure, 5)
