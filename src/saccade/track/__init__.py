"""Trackers that people have: TensorBoard, MLflow, Weights & Biases, Trackio. One module each, behind one interface."""
