"""Sources of images, their splits and batches; near-duplicates; random numbers keyed by integers; files that come with mend."""

from mend.errors import import_lazily

__getattr__ = import_lazily(__name__, load_images="mend.data.sources")
