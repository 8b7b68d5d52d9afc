"""What a run is made of, whoever carries it out: steps in groups, as the pictures need them."""
