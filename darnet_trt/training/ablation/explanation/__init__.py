"""What trained networks look at: the paper's Figure 2, the depth gates, and phantoms' lesions."""
