"""What numba compiles for the fused engine: vector code, the time loop forward and back, reads of crossbars."""
