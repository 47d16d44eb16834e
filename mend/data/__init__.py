"""Sources of images, their splits and batches; near-duplicates; random numbers keyed by integers; files that come with mend."""
