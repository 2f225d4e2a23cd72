"""Orders: taken, decided and told. The only module that knows the others."""
