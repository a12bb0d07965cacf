"""Engines: `eager` is plain torch, on any device, and the definition; the fused one is compiled for the CPU."""
