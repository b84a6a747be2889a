"""The command `demo`: render hands, estimate them, train a small model, and show all results on one page."""
