"""One file a revision; a revision never imports today's tables."""
