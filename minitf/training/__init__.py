"""Training: the LightningModule, its callbacks, and the run from data to translations."""
