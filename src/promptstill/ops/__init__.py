"""Pure tensor functions: no files, no settings, no state."""
