"""Masks as people have them, read as a hole; masks drawn; mask sets stored and shown."""

from mend.errors import import_lazily

__getattr__ = import_lazily(__name__, make_masks="mend.segment.make")
