"""Readers of labelled data sets, one module for each family of layouts."""
