"""The analytics service of the shop."""
