"""The command `demo`: from nothing to a page with hands, skeletons and errors in a few minutes."""
