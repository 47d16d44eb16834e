"""Which mask belongs to which picture of a folder, and where each is written: a plan that is checked before anything is done.

No more than the beginning of a file is read.
"""

import os
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from PIL import Image

from mend.errors import InputError, list_some
from mend.filling.job import AS_PNG
from mend.filling.summary import SUMMARY, read_summary
from mend.images import choose_suffix, explain_read_errors, find_pictures, name_format, open_picture, peek


@dataclass(frozen=True)
class Pair:
    """A picture and its mask, None where its hole comes from elsewhere. `name` is its path within the folder.

    `kept` is where its hole is written as a mask, if anywhere; `problem` says why it cannot be filled; `skip` is whether what
    would be written is there already; `photo_name` is what messages call the picture, if not by its path.
    """

    name: str
    photo: Path
    mask: Path | None
    output: Path
    kept: Path | None = None
    problem: str = ""
    skip: bool = False
    photo_name: str = ""

    @property
    def written(self) -> list[Path]:
        return [self.output] if self.kept is None else [self.output, self.kept]


@dataclass(frozen=True)
class Plan:
    """What is to be done with a folder. `notes` are for the person: shared masks, masks without a picture, other files. To the
    folder `keep_mask`, if any, the holes will be written as masks."""

    output: Path
    pairs: list[Pair]
    notes: list[str]
    keep_mask: Path | None = None

    @property
    def to_fill(self) -> list[Pair]:
        return [pair for pair in self.pairs if not (pair.problem or pair.skip)]


def plan_folder(
    photos: str | Path,
    output: str | Path,
    masks: str | Path | None = None,
    pattern: str = "{stem}",
    suffix: str | None = None,
    skip_existing: bool = False,
    keep_mask: Path | None = None,
) -> Plan:
    """What to fill, with which mask, to where. Nothing is written.

    `masks` is one mask for all; or a folder, in which the mask of a/b.jpg is called a/b, or what `pattern` makes of b, whatever
    its suffix (.json, COCO annotations, where there is no picture); or None where holes come from elsewhere. Outputs mirror the
    tree of `photos`, in formats by `choose_suffix` or in that of `suffix`. Pictures below `output` or a mask folder, and the
    masks themselves, are not filled. To the folder `keep_mask`, if any, the holes will be written as masks.

    A picture whose mask is missing or undecided has a `problem`: it counts as failed, since a mask that was misnamed would
    otherwise be noticed by nobody. So have pictures that would become one file, all of them. Raises InputError where no picture
    has a mask, and where an output would overwrite an input.
    """
    photos, output, masks = Path(photos), Path(output), None if masks is None else Path(masks)
    _check_folders(photos, output, masks, pattern, suffix, keep_mask)
    folders = [folder for folder in (output, masks, keep_mask) if folder]
    aside = {_identify(folder) for folder in folders if _is_below(folder, {_identify(photos)})}
    earlier = [
        folder
        for folder in _find_earlier(photos, output)
        if _is_below(folder, {_identify(photos)}) and not _is_within(folder, aside)
    ]
    aside |= {_identify(folder) for folder in earlier}
    written = [folder for folder in (output, keep_mask, *earlier) if folder]
    mask_files = _list_mask_files(masks, written)
    masks_of = _match_masks(photos, aside, masks, mask_files, pattern)
    pairs = []
    for photo, found in masks_of.items():
        place, problem = photo.relative_to(photos), ""
        if masks is not None and not found:
            problem = f"it has no mask: expected {(masks / _name_mask(place, pattern)).with_suffix('.png')} or the like"
        elif masks is not None and len(found) > 1:
            problem = f"it has {len(found)} masks: {_list_files(found, masks)}. Keep one."
        read_as = peek(photo)[0]
        problem = problem or ("" if read_as else _explain_unread(photo))
        kind = choose_suffix(place.suffix, read_as) if suffix is None else f".{suffix.lstrip('.')}"
        kept = None if keep_mask is None else keep_mask / place.with_suffix(".png")
        mask = found[0] if len(found) == 1 else None
        pair = Pair(place.as_posix(), photo, mask, output / place.with_suffix(kind), kept, problem)
        pairs.append(replace(pair, skip=skip_existing and not problem and all(map(_is_there, pair.written))))
    pairs = _refuse_collisions(pairs, _is_case_insensitive(output))
    _check_outputs(pairs, mask_files)
    notes = _collect_notes(pairs, photos, mask_files, aside)
    if earlier:
        notes.append(f"left alone, since it was filled by an earlier run: {_list_files(earlier, photos)}")
    if suffix is None and (changed := [pair.photo for pair in pairs if pair.output.suffix != pair.photo.suffix]):
        notes.append(f"{AS_PNG}: {_list_files(changed, photos)}")
    return Plan(output, pairs, notes, keep_mask)


def _check_folders(
    photos: Path, output: Path, masks: Path | None, pattern: str, suffix: str | None, keep_mask: Path | None
) -> None:
    if "{stem}" not in pattern:
        raise InputError(f"the pattern is {pattern!r}; expected a name with {{stem}} in it, such as {{stem}}_mask.")
    if not photos.is_dir():
        raise InputError(f"there is no folder {photos}.")
    if masks is not None and not masks.exists():
        raise InputError(f"there is no mask or folder of masks {masks}.")
    if _identify(output) == _identify(photos):
        raise InputError(f"{output} is the folder of the pictures; filling would overwrite them. Choose another `output`.")
    for folder, argument in ((output, "output"), (keep_mask, "keep_mask")):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; `{argument}` is to be a folder, since {photos} is one.")
    if keep_mask is not None and _identify(keep_mask) == _identify(photos):
        raise InputError(f"{keep_mask} is the folder of the pictures; a mask there would be one. Choose another `keep_mask`.")
    if keep_mask is not None and _identify(keep_mask) == _identify(output):
        raise InputError(f"{keep_mask} is the `output`, where a picture has the name of its mask. Choose another `keep_mask`.")
    if suffix is not None and not name_format(f".{suffix.lstrip('.')}"):
        raise InputError(f"{suffix!r} is no format that can be written. Use png, jpg, webp or tif.")


# --- Masks -----------------------------------------------------------------------------------------------------------


def _list_mask_files(masks: Path | None, written: list[Path]) -> list[Path]:
    """The one mask, or those of a folder, without what is `written` there."""
    if masks is None or not masks.is_dir():
        return [] if masks is None else [masks]
    ours = {_identify(folder) for folder in written if _is_below(folder, {_identify(masks)})}
    files = [file for file in find_pictures(masks, ".json") if file.name != SUMMARY and not _is_below(file, ours)]
    if not files:
        raise InputError(f"no masks in {masks}: it holds no pictures or COCO annotations but what was filled before.")
    return files


def _match_masks(
    photos: Path, aside: set[object], masks: Path | None, mask_files: list[Path], pattern: str
) -> dict[Path, list[Path]]:
    """The pictures to fill, each with the masks that are for it: best one, else none or several."""
    pictures = [file for file in find_pictures(photos) if not _is_below(file, aside)]
    if masks is None or not masks.is_dir():
        masks_of = {picture: list(mask_files) for picture in pictures}
    else:
        masks_of = _match_by_name(pictures, photos, mask_files, masks, pattern)
    used = {_identify(mask) for picture, found in masks_of.items() for mask in found if mask != picture}
    masks_of = {picture: found for picture, found in masks_of.items() if _identify(picture) not in used}
    if not masks_of:
        raise InputError(f"no pictures to fill in {photos}: what is there belongs to the masks or to the output.")
    if masks is not None and not any(masks_of.values()):
        first = next(iter(masks_of))
        wanted = _name_mask(first.relative_to(photos), pattern).with_suffix(".png").as_posix()
        raise InputError(
            f"none of the {len(masks_of)} pictures of {photos} has a mask in {masks}: {first.name} needs {wanted} or the like, "
            f"and there is {_list_files(mask_files, masks)}. Names that differ need a `pattern`, such as '{{stem}}_mask'."
        )
    return masks_of


def _match_by_name(
    pictures: list[Path], photos: Path, mask_files: list[Path], masks: Path, pattern: str
) -> dict[Path, list[Path]]:
    named = defaultdict(list)
    for mask in mask_files:
        named[_fold_case(mask.relative_to(masks))].append(mask)
    masks_of = {}
    for picture in pictures:
        place = _name_mask(picture.relative_to(photos), pattern)
        found = named.get(_fold_case(place), [])
        # A.jpg takes a.png where there is no A.png; a.png takes a.png before a.tif.
        found = [mask for mask in found if mask.stem == place.stem] or found
        annotated = [mask for mask in found if mask.suffix.lower() == ".json"]
        if picture in found:  # the masks lie beside the pictures
            found = annotated or found
        elif len(annotated) < len(found):
            found = [mask for mask in found if mask not in annotated]
        masks_of[picture] = [mask for mask in found if mask == masks / place] or found
    if masks_of and all(found == [picture] for picture, found in masks_of.items()):
        raise InputError(f'{masks} holds pictures and masks; say how masks are called: `pattern="{{stem}}_mask"`.')
    return masks_of


def _name_mask(place: PurePath, pattern: str) -> PurePath:
    """Where a picture's mask should be in the mask folder; another suffix will do, too."""
    name = pattern.replace("{stem}", place.stem)
    has_suffix = PurePath(pattern).suffix.lower() in Image.registered_extensions()  # "{stem}_mask.png" is what people write
    return place.parent / (name if has_suffix else name + place.suffix)


# --- Checks ----------------------------------------------------------------------------------------------------------


def _refuse_collisions(pairs: list[Pair], ignoring_case: bool) -> list[Pair]:
    """The pairs, with a problem for each of those that would become one file: which of them it shows would be chance."""

    def name(file: Path) -> str:
        return _normalise_name(file.as_posix()) if ignoring_case else file.as_posix()

    becoming: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        if not pair.problem:
            for file in pair.written:
                becoming[name(file)].append(pair.name)
    checked = []
    for pair in pairs:
        shared = [file for file in pair.written if len(becoming[name(file)]) > 1]
        if not pair.problem and shared:
            names = " and ".join(becoming[name(shared[0])])
            problem = f"{names} would all become {shared[0]}. Rename them, or move them apart."
            pair = replace(pair, problem=problem, skip=False)
        checked.append(pair)
    return checked


def _check_outputs(pairs: list[Pair], mask_files: list[Path]) -> None:
    """Nothing is done where something would be lost."""
    inputs = {_identify(file) for file in [*(pair.photo for pair in pairs), *mask_files]}
    for pair in pairs:
        for file, argument in ((pair.output, "output"), (pair.kept, "keep_mask")):
            if file is not None and _identify(file) in inputs:
                raise InputError(f"{file} is an input; filling {pair.name} would overwrite it. Choose another `{argument}`.")


def _collect_notes(pairs: list[Pair], photos: Path, mask_files: list[Path], aside: set[object]) -> list[str]:
    """What the person may not expect."""
    notes = []
    sharing: dict[Path, list[str]] = defaultdict(list)
    for pair in pairs:
        if pair.mask is not None:
            sharing[pair.mask].append(pair.name)
    filled = {pair.photo for pair in pairs}
    if len(mask_files) > 1:
        notes += [f"{' and '.join(names)} share the mask {mask.name}" for mask, names in sharing.items() if len(names) > 1]
        idle = [mask for mask in mask_files if mask not in sharing and mask not in filled]
        if idle:
            notes.append(f"masks not used: {_list_files(idle)}")
    aside = aside | {_identify(hidden) for hidden in photos.rglob(".*")}
    known = {_identify(file) for file in [*filled, *mask_files]} | aside
    files = (file for file in sorted(photos.rglob("*")) if file.is_file())
    others = [file for file in files if not _is_within(file, known)]
    if others:
        notes.append(f"no pictures, left alone: {_list_files(others, photos)}")
    return notes


# --- Files and their names -------------------------------------------------------------------------------------------


def _find_earlier(photos: Path, output: Path) -> list[Path]:
    """The outputs and the kept masks of earlier runs, by the summaries that they left among the pictures and in `output`."""
    found = []
    for file in sorted({*photos.rglob(SUMMARY), *output.glob(SUMMARY)}):
        found.append(file.parent)
        found += [Path(os.path.normpath(file.parent / kept)) for kept in read_summary(file).masks_kept]
    return found


def _identify(path: Path) -> object:
    """Equal for all names of one file or folder, also those that differ in case where the disk ignores that."""
    try:
        found = path.stat()
        return found.st_dev, found.st_ino
    except OSError:  # it is not there
        return os.path.realpath(path)


def _is_below(path: Path, folders: set[object]) -> bool:
    """Whether one of the `folders`, each by `_identify`, holds the path."""
    return bool(folders) and any(_identify(parent) in folders for parent in Path(os.path.realpath(path)).parents)


def _is_within(path: Path, folders: set[object]) -> bool:
    return _identify(path) in folders or _is_below(path, folders)


def _is_there(file: Path) -> bool:
    """An empty file is what another program left of one."""
    return file.is_file() and file.stat().st_size > 0


def _is_case_insensitive(folder: Path) -> bool:
    """Whether its disk takes A and a for one name, seen at the nearest folder around it that is there and has letters."""
    for there in (found := Path(os.path.realpath(folder)), *found.parents):
        if there.exists() and there.name.swapcase() != there.name:
            return _identify(there.with_name(there.name.swapcase())) == _identify(there)
    return False


def _explain_unread(photo: Path) -> str:
    """What is wrong with a file whose beginning is that of no picture."""
    try:
        with explain_read_errors(str(photo)), open_picture(photo):
            return ""  # it is there by now
    except InputError as error:
        return str(error)


def _fold_case(place: PurePath) -> str:
    """A name without its suffix, for systems that ignore case or store é as two characters."""
    return _normalise_name(place.with_suffix("").as_posix())


def _normalise_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _list_files(files: list[Path], root: Path | None = None) -> str:
    return list_some([file.relative_to(root).as_posix() if root else file.name for file in files], 5)
