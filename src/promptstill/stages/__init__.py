"""The verbs of a run. No stage imports another: only pipelines compose."""
