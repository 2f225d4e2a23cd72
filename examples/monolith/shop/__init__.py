"""The shop as one application: seven modules, one database."""
