"""What a run shows, as numbers with intervals. Reads the run alone; knows nothing of engines or of drawing."""
