"""The place Lab: kernels on an image painted by hand and on photos."""
