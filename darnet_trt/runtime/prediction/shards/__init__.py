"""Parts of a run: which one a folder holds, how they are joined, and how a cluster runs them."""
