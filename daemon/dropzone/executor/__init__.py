"""Where index work runs; local processes for now."""
