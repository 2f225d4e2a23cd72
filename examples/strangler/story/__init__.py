"""The story of `make strangle`: two capabilities leave the monolith under load, after two attempts that were wrong."""
