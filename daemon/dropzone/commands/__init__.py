"""The work of the commands: one module for each, and what they share."""
