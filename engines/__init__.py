"""Engines: a network graph, a topology and a crop rule in a folder, behind one protocol."""
