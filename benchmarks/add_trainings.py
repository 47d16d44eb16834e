"""Add trainings that were made and scored elsewhere to results/cifar10-object-v1, and make anew all that shows it.

    python benchmarks/add_trainings.py ../results-in --data ../shared/data/cifar10 --masks masks/cifar10

The folder holds results as `mend evaluate` writes them, ANY.json and ANY/METHOD.parquet, of the same protocol, pictures and
masks. Each network is added under its name there, which is that of its run folder, such as unet-w16-seed1. Its rows are kept
small: of a float 10 of the 23 bits behind the leading one (a PSNR of 25 dB to 0.01 dB, its mean over 10,000 images to 0.0001),
and what the images are called once for all methods. The means and intervals in the .json are those that were measured.

Then every two networks of a width are compared, over trainings where each has several; causes.py, `mend report` and pages.py
run; and the lines of prose that name a file which has changed are printed, as nobody rewrites them. Without the folder of
results all this is done for those that are there.
"""

import argparse
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from mend.errors import InputError
from mend.evaluate.compare import compare, write_csv
from mend.evaluate.metrics import METRICS, name_metric
from mend.evaluate.result import MethodResult, add_methods, find_result_folder, find_rows_file, read_result, read_scores
from mend.evaluate.trainings import group_trainings, name_group, pair_with_plain
from mend.images import write_bytes
from mend.report import report, write_into
from mend.report.tables import order_methods, readme_table

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "cifar10-object-v1"
DUPLICATES = ROOT / "results" / "cifar10-near-duplicates.csv"
BITS = 10


def add(folder: Path, out: Path) -> list[str]:
    """Add the networks of all results in a folder, and say which; all of them, or with an InputError none."""
    there = read_result(out)
    images = read_scores(find_rows_file(out, next(iter(there.methods))))
    images = images[[column for column in images if name_metric(column) not in METRICS]]
    found: dict[str, tuple[Path, MethodResult]] = {}
    for file in sorted(file for file in folder.rglob("*.json") if find_result_folder(file).is_dir()):
        result = read_result(file)
        for what in ("n", "images", "mask_set"):
            if (old := getattr(there, what)) != (new := getattr(result, what)):
                raise InputError(f"{file} was measured on something else than {out}: {what} is {new}, there it is {old}.")
        for name, method in result.methods.items():
            if method.model.trained is None:
                continue
            known = found[name][1] if name in found else there.methods.get(name)
            if known is not None and known.weights != method.weights:
                raise InputError(
                    f"the {name} of {file} has other weights than one that is there. Rename its run; score it anew."
                )
            if not read_scores(find_rows_file(file, name))["image"].equals(images["image"]):
                raise InputError(f"the rows of {name} in {file} are not of the images of {out}, in their order.")
            if known is None:
                found[name] = file, without_paths(method)
    if not found:
        raise InputError(f"{folder} holds no network that is not there yet. Expected ANY.json beside a folder ANY.")
    write_bytes(out / "images.parquet", images.to_parquet(None, compression="zstd", index=False))
    for name, (file, _) in found.items():
        write_small(find_rows_file(out, name), read_scores(find_rows_file(file, name)))
    result = add_methods(out, there, {name: method for name, (_, method) in found.items()})
    for names in group_trainings(result, result.methods):  # one of each recipe is shown in pictures
        strips = [
            strip for name in names if name in found and (strip := find_result_folder(found[name][0]) / f"{name}.png").exists()
        ]
        if strips and not any((out / f"{name}.png").exists() for name in names):
            write_bytes(out / strips[0].name, strips[0].read_bytes())
    return list(found)


def without_paths(method: MethodResult) -> MethodResult:
    """Without the folders of the machine that it was trained on."""
    trained = method.model.trained
    assert trained is not None
    names = {key: Path(trained.config[key]).name for key in ("data", "masks") if key in trained.config}
    trained = replace(trained, data=Path(trained.data).name, config={**trained.config, **names})
    return replace(method, model=replace(method.model, trained=trained))


def write_small(file: Path, rows: pd.DataFrame) -> None:
    scores = rows[[column for column in rows if name_metric(column) in METRICS]].apply(shorten)
    packed = {"use_dictionary": False, "column_encoding": dict.fromkeys(scores, "BYTE_STREAM_SPLIT")}
    write_bytes(file, scores.to_parquet(None, compression="zstd", compression_level=19, index=False, **packed))


def shorten(values: "pd.Series[float]") -> "pd.Series[float]":
    """Floats rounded to `BITS` bits behind the leading one, which compress better."""
    mantissa, exponent = np.frexp(values.to_numpy(np.float64))
    rounded = np.ldexp(np.rint(np.ldexp(mantissa, BITS + 1)), exponent - BITS - 1)
    return pd.Series(rounded.astype(np.float32), values.index)


def compare_all(out: Path) -> None:
    """Every two networks of a width, the later of the table minus the earlier: OUT/SIMPLE-against-UNET.csv, -w64 behind other
    widths than 16."""
    result = read_result(out)
    for width, pairs in pair_with_plain(result, order_methods(result, None)).items():
        plain, others = pairs[0][0], [group for _, group in pairs if result.methods[group[0]].model.model != "autoencoder"]
        for one, other in combinations([plain, *others], 2):
            names = [re.sub(rf"^unet-(?!w\d)|-w{width}|-seed\d+$", "", name_group(result, group)) for group in (other, one)]
            ending = "" if width == 16 else f"-w{width}"
            write_csv(out / f"{'-against-'.join(names)}{ending}.csv", compare(",".join(other), ",".join(one), out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--data", required=True)
    parser.add_argument("--masks", required=True)
    parser.add_argument(
        "--count", default="10000", help="test images for the conventions of causes.py; 0 leaves them as they are"
    )
    given = parser.parse_args()
    if given.results is not None:
        print("added:", ", ".join(add(given.results, RESULT)))
    compare_all(RESULT)
    report(RESULT, RESULT)
    report(RESULT, RESULT / f"without-{DUPLICATES.stem}", without=DUPLICATES)
    write_into(ROOT / "docs" / "results.md", readme_table(read_result(RESULT)))
    causes = ["causes.py", str(RESULT), given.data, given.masks, "--count", given.count]
    for script, *words in (causes, ["pages.py"]):
        subprocess.run([sys.executable, str(ROOT / "benchmarks" / script), *words], check=True)
    changed = subprocess.run(["git", "diff", "--name-only"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    named = [
        Path(file).name for file in changed.split() if file.startswith("results/") and Path(file).suffix in (".csv", ".md")
    ]
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for i, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if any(f"/{name}" in line for name in named):
                print(f"{page.relative_to(ROOT)}:{i}: {line.strip()}")


if __name__ == "__main__":
    main()
