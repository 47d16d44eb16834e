"""Object masks: by networks and graphs, for a whole source of images or for one picture."""
