//! transformers and sentence-transformers read what we export.
