"""What is known of positions, and the rules by which P3.3 permits or refuses a plan. Pure."""
