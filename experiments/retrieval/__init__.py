"""Shape retrieval: triplets to train with, embeddings, rankings, their metrics, and pages that show them."""
