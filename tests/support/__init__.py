"""Real parts that tests share: clips with known motion, servers on loopback."""
