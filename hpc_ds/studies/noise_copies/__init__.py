"""What noisy copies of the training data do to a small network, beside noise on its weights and dropout."""
