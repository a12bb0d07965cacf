"""Certificates: interval bounds through a spiking network over a box of coordinates."""
