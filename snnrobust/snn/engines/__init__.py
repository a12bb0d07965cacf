"""Engines: the time loop. `eager` is plain torch, runs on any device, and is the definition."""
