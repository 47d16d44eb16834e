"""Filling pictures: in memory, one file, a folder; and proof that nothing else changed."""
