"""What the playbooks take on a booted sandbox host, against their budgets and a plain list."""
