"""The catalogue, moved out of the monolith."""
