"""One file a vote rule."""
