"""Training: recipes, losses, runs, and a result done again."""
