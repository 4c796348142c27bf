"""The release's experiment with 1D signals: pretrain a small predictor, search around it, look at what is there."""
