"""What runs: the loops between the sources and the publisher, and the streams that come and go."""
