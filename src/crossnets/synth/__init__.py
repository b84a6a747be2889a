"""The procedural hand: a skeleton that moves, a surface on it, and the depth camera that sees it."""
