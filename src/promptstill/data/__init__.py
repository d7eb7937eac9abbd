"""Images, their deterministic views, stored embeddings of them, and benchmarks."""
