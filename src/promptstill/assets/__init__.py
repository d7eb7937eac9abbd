"""The embedded nano models and the pictograms benchmark: data only."""
