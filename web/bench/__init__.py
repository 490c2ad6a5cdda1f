"""What this machine can do, measured: one module for each thing measured."""
