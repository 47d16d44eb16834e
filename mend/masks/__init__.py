"""Masks as people have them, read as a hole; masks drawn; mask sets stored and shown."""
