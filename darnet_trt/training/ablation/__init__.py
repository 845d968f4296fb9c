"""The paper's ablation: its four networks over the same folds, and their Tables 2 and 3."""
