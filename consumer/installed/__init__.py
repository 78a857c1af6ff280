"""What is installed here: which strategies packages register, and which files their code is."""
