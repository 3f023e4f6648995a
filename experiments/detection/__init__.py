"""Detection on LiDAR sweeps: a network that predicts where to look, and a block-sparse detector that looks there."""
