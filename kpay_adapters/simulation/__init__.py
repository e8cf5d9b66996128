"""A deterministic simulation: the real core under a seeded scheduler, with every fault that has a name."""
