"""The order service of the shop."""
