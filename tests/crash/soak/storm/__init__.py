"""The storm: a system of small services, its clients, a seeded nemesis, and a judge of what became of it all."""
