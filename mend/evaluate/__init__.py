"""Evaluation: protocols, metrics, scores with their intervals, comparisons."""
