"""The product service of the shop."""
