"""The notification service of the shop."""
