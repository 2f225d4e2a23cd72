"""Orders, moved out of the monolith."""
