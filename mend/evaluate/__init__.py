"""Evaluation: protocols, metrics, scores with their intervals, comparisons."""

from mend.errors import import_lazily

__getattr__ = import_lazily(
    __name__,
    evaluate="mend.evaluate.run",
    read_protocol="mend.evaluate.protocol",
    read_result="mend.evaluate.result",
    read_summary="mend.evaluate.result",
)
