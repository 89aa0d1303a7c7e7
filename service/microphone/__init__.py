"""What surrounds a live recording at a terminal: sound card, level, keyboard, file of captions."""
