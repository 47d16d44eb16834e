"""The images of an evaluation, sorted."""

import json
from typing import Any

from mend.errors import InputError, name_missing_extra


@name_missing_extra()
def read_rows(file: str, by: str, up: bool, count: int) -> dict[str, Any]:
    """The first `count` images of a table of scores, a row each, sorted by a column, or by the first score; and how many there
    are."""
    from mend.evaluate.result import read_scores

    table = read_scores(file).drop(columns=["row", "image"])
    by = by or next(column for column in table.columns if column not in ("name", "class", "coverage"))
    if by not in table:
        raise InputError(f"there is no column {by!r}; expected one of {', '.join(table.columns)}.")
    first = table.sort_values(by, ascending=up, kind="stable").head(count)
    return {"columns": list(first.columns), "rows": json.loads(first.to_json(orient="values")), "of": len(table), "by": by}
