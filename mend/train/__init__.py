"""Training: recipes, losses, runs, and a result done again."""

from mend.errors import import_lazily

__getattr__ = import_lazily(__name__, train="mend.train.run")
