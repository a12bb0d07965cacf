"""Arrays of programmable conductances: what happens to a weight between its value and the current it gives.

The order is that of the files: mapping (weight to conductances), programming, stuck cells, drift, read noise, and
compensation of what drift did to the whole array. `array.py` puts them together into a stage.
"""
