"""The payment service of the shop."""
